# shellcheck shell=bash disable=SC2154
# Options of the stock policy beyond those of zfs_autobackup 2.4, on real pools.

setup() {
  pool src 300
  pool dst 300
}

test_a_quota_does_not_stop_a_receive_and_is_the_source_s_afterwards() {
  tree quota
  zfs set quota=40M refquota=30M "$src/quota/sub"
  backup quota --now 20260101000000
  assert_eq "$(property "$(target quota/sub)" quota)" 41943040
  assert_eq "$(property "$(target quota/sub)" refquota)" 31457280
  # A target that holds more than it may: as after many days.
  zfs set quota=1M refquota=none "$(target quota/sub)"
  write_file "$src/quota/sub" 2000 more
  backup quota --now 20260102000000
  assert_eq "$(property "$(target quota/sub)" quota)" 41943040
  assert_eq "$(property "$(target quota/sub)" refquota)" 31457280
  # What a killed run left without is put right by the next one, though nothing is new.
  zfs set quota=none "$(target quota/sub)"
  backup quota --now 20260103000000
  assert_eq "$(property "$(target quota/sub)" quota)" 41943040
}

test_a_quota_does_not_stop_what_is_received_below_its_dataset() {
  tree above
  # The source has one of four generations, and its target all of them. zfs lets a quota be passed once.
  for day in 1 2 3 4; do
    zfs set quota=none "$src/above" # writing close to a quota takes long
    write_file "$src/above/sub" 1000 changing
    zfs set quota=2500K "$src/above"
    backup above --keep-source last1 --now "2026010${day}000000"
    if [ "$day" = 2 ]; then assert_eq "$(property "$(target above)" quota)" 2560000; fi
  done
  same_guids "$src/above/sub" "$(target above/sub)"
  assert_eq "$(count "$(target above/sub)")" 4
  assert_eq "$(property "$(target above)" quota)" 0
}

test_encrypt_and_decrypt() {
  zfs create -o encryption=on -o keyformat=passphrase "$dst/vault" <<<'correct horse'
  tree clear
  moonpool autobackup clear "$dst/vault" --encrypt
  assert_eq "$(property "$dst/vault/$src/clear" encryptionroot)" "$dst/vault"
  same_guids "$src/clear" "$dst/vault/$src/clear"
  zfs create -o encryption=on -o keyformat=passphrase -o compression=gzip "$src/hidden" <<<'correct horse'
  write_file "$src/hidden" 64 first
  zfs set autobackup:hidden=true "$src/hidden"
  backup hidden --decrypt --now 20260101000000
  assert_eq "$(property "$(target hidden)" encryption)" off
  assert_eq "$(property "$(target hidden)" compression)" gzip
  write_file "$src/hidden" 64 more
  backup hidden --decrypt --now 20260102000000
  same_guids "$src/hidden" "$(target hidden)"
}

test_raw_and_plain_are_never_mixed_on_one_target() {
  zfs create -o encryption=on -o keyformat=passphrase "$dst/mixed" <<<'correct horse'
  for name in rawly plainly inside; do
    zfs create -o encryption=on -o keyformat=passphrase "$src/$name" <<<'correct horse'
    write_file "$src/$name" 64 first
    zfs set "autobackup:$name=true" "$src/$name"
  done
  backup rawly --now 20260101000000
  zfs load-key "$(target rawly)" <<<'correct horse'
  backup plainly --decrypt --now 20260101000000
  moonpool autobackup inside "$dst/mixed" --decrypt --now 20260101000000
  for name in rawly plainly inside; do write_file "$src/$name" 64 second; done
  refuses backup rawly --decrypt --now 20260102000000
  assert_contains "$err" "$(target rawly) was received raw, and can't go on with plain streams (without --decrypt it goes on as before"
  refuses backup plainly --now 20260102000000
  assert_contains "$err" "$(target plainly) was received in plain, and can't go on with raw streams (--decrypt goes on as before"
  # What zfs itself finds out.
  refuses moonpool autobackup inside "$dst/mixed" --now 20260102000000
  assert_contains "$err" 'another target path for raw copies'
  # And each goes on as it began.
  backup rawly --now 20260103000000
  backup plainly --decrypt --now 20260103000000
  moonpool autobackup inside "$dst/mixed" --decrypt --now 20260103000000
  same_guids "$src/rawly" "$(target rawly)"
  same_guids "$src/plainly" "$(target plainly)"
  same_guids "$src/inside" "$dst/mixed/$src/inside"
}

test_the_refreservation_is_the_source_s_unless_cleared() {
  zfs create -V 8M "$src/thick"
  zfs set autobackup:thick=true "$src/thick"
  backup thick --now 20260101000000
  reserved=$(property "$src/thick" refreservation)
  assert_eq "$(property "$(target thick)" refreservation)" "$reserved"
  zfs set refreservation=none "$(target thick)"
  backup thick --allow-empty --now 20260102000000
  assert_eq "$(property "$(target thick)" refreservation)" "$reserved"
  backup thick --allow-empty --clear-refreservation --now 20260103000000
  zfs set refreservation=none "$(target thick)"
  backup thick --allow-empty --clear-refreservation --now 20260104000000
  assert_eq "$(property "$(target thick)" refreservation)" 0
}

test_a_clone_is_one_on_the_target_too() {
  tree origin
  backup origin --now 20260101000000
  zfs clone "$src/origin/sub@origin-20260101000000" "$src/origin/a_clone"
  write_file "$src/origin/a_clone" 32 own
  backup origin --now 20260102000000
  assert_eq "$(property "$(target origin/a_clone)" origin)" "$(target origin/sub)@origin-20260101000000"
  same_guids "$src/origin/a_clone" "$(target origin/a_clone)"
  zfs clone "$src/origin/sub@origin-20260101000000" "$src/origin/another"
  write_file "$src/origin/another" 8192 big
  backup origin --no-send --now 20260103000000
  cut_receive "$src/origin/sub@origin-20260101000000" "$src/origin/another@origin-20260103000000" "$(target origin/another)"
  out=$(backup origin --no-snapshot --now 20260104000000 --verbose)
  assert_match "$out" "Resuming $src/origin/another"
  assert_eq "$(property "$(target origin/another)" origin)" "$(target origin/sub)@origin-20260101000000"
}

test_foreign_snapshots_go_along_but_for_those_that_match_a_pattern() {
  tree other
  zfs snapshot "$src/other@keep-me"
  zfs snapshot "$src/other@tmp-1"
  backup other --other-snapshots --exclude-snapshot-pattern '^tmp-[0-9]+$' --now 20260101000000
  assert_eq "$(snapshots "$(target other)" | sed 's/.*@//' | tr '\n' ' ')" 'keep-me other-20260101000000 '
  refuses backup other --other-snapshots --exclude-snapshot-pattern '(' --now 20260102000000
  assert_eq "$status" 253
}

test_a_target_that_went_on_is_mended_as_asked() {
  tree mend
  backup mend --now 20260101000000
  zfs snapshot "$(target mend)@foreign"
  write_file "$src/mend" 32 more
  backup mend --now 20260102000000 --destroy-incompatible
  same_guids "$src/mend" "$(target mend)"
  assert_missing "$(target mend)@foreign"
  zfs snapshot "$(target mend)@foreign"
  write_file "$src/mend" 32 again
  backup mend --now 20260103000000 --on-diverged rename
  same_guids "$src/mend" "$(target mend)"
  same_guids "$src/mend/sub" "$(target mend/sub)"
  assert_exists "$(target mend).old-20260103000000@foreign"
  write_file "$src/mend/sub" 32 again
  backup mend --now 20260104000000
  same_guids "$src/mend/sub" "$(target mend/sub)"
}

test_a_target_that_is_replaced_is_there_whatever_happens_meanwhile() {
  tree anew
  backup anew --now 20260101000000
  zfs snapshot "$(target anew)@foreign"
  write_file "$src/anew" 32 more
  refuses backup anew --on-diverged full --send-pipe false --now 20260102000000
  assert_exists "$(target anew)@foreign"
  # As a run leaves it that was killed before anything was received.
  zfs set moonpool:aside=full "$(target anew)"
  zfs rename "$(target anew)" "$(target anew).old-20260103000000"
  backup anew --on-diverged full --now 20260104000000
  same_guids "$src/anew" "$(target anew)"
  same_guids "$src/anew/sub" "$(target anew/sub)"
  assert_missing "$(target anew).old-20260103000000"
  assert_missing "$(target anew).old-20260104000000"
}

test_a_held_newer_snapshot_of_the_target_survives_whatever_was_asked() {
  tree hold
  backup hold --now 20260101000000
  zfs snapshot "$(target hold)@foreign"
  zfs hold mine "$(target hold)@foreign"
  write_file "$src/hold" 32 more
  for what in --destroy-incompatible '--on-diverged rollback' '--on-diverged full'; do
    # shellcheck disable=SC2086
    run backup hold --now 20260102000000 $what
    zfs list -r -t snapshot -o name "$dst/hold" | grep -q '@foreign$'
  done
  backup hold --now 20260103000000 --destroy-missing 1d
  assert_exists "$(target hold).old-20260102000000@foreign"
}

test_an_empty_dataset_in_the_way_is_received_over_by_force_only() {
  tree force
  zfs create -p "$(target force)"
  refuses backup force --now 20260101000000
  assert_match "$err" 'without a snapshot to go on from'
  backup force --force --now 20260102000000
  same_guids "$src/force" "$(target force)"
}

test_a_target_whose_source_is_gone_ages_out_and_is_destroyed_when_asked() {
  tree gone
  backup gone --now 20260101000000
  backup gone --now 20260102000000 --allow-empty
  zfs holds -H "$src/gone/sub@gone-20260102000000" | cut -f 2 | while read -r tag; do zfs release "$tag" "$src/gone/sub@gone-20260102000000"; done
  zfs destroy -r "$src/gone/sub"
  backup gone --now 20260301000000
  assert_eq "$(count "$(target gone/sub)")" 1
  backup gone --now 20260302000000 --destroy-missing 90d
  assert_exists "$(target gone/sub)"
  backup gone --now 20260601000000 --destroy-missing 90d
  assert_missing "$(target gone/sub)"
  same_guids "$src/gone" "$(target gone)"
}

test_a_renamed_source_is_followed_when_asked_and_else_told() {
  tree before
  zfs set autobackup:moved=true "$src/before"
  moonpool autobackup moved "$dst/moved" --now 20260101000000
  zfs rename "$src/before" "$src/after"
  refuses moonpool autobackup moved "$dst/moved" --now 20260102000000
  assert_match "$err" "zfs rename $dst/moved/$src/before $dst/moved/$src/after"
  refuses moonpool autobackup moved "$dst/moved" --now 20260110000000 --destroy-missing 5d
  assert_exists "$dst/moved/$src/before/sub@moved-20260101000000"
  moonpool autobackup moved "$dst/moved" --now 20260111000000 --follow-renames
  same_guids "$src/after" "$dst/moved/$src/after"
  same_guids "$src/after/sub" "$dst/moved/$src/after/sub"
  assert_missing "$dst/moved/$src/before"
}

test_snapshots_have_tag_and_properties_and_commands_around_them() {
  tree tag
  backup tag --tag weekly --set-snapshot-properties org:why=test --now 20260101000000 \
    --pre-snapshot-cmd "zfs list -H -t snapshot -o name $src/tag >$T/before" --post-snapshot-cmd "zfs list -H -t snapshot -o name $src/tag >$T/after"
  assert_eq "$(cat "$T/before")" ''
  assert_eq "$(cat "$T/after")" "$src/tag@tag-20260101000000_weekly"
  assert_eq "$(property "$src/tag@tag-20260101000000_weekly" org:why)" test
  refuses backup tag --now 20260102000000 --allow-empty --pre-snapshot-cmd false --post-snapshot-cmd "touch $T/ran"
  assert_eq "$(count "$src/tag")" 1
  [ -e "$T/ran" ]
}

test_names_with_spaces_volumes_and_odd_user_properties_are_ordinary() {
  tree ordinary
  zfs create "$src/ordinary/with some spaces"
  zfs create -V 8M "$src/ordinary/vol"
  zfs set "org:odd=a	b'c\"d" "$src/ordinary"
  zfs set 'org:lines=one
two' "$src/ordinary"
  backup ordinary --now 20260101000000
  backup ordinary --now 20260102000000 --allow-empty
  same_guids "$src/ordinary/with some spaces" "$(target ordinary)/with some spaces"
  same_guids "$src/ordinary/vol" "$(target ordinary/vol)"
  assert_eq "$(property "$(target ordinary)" org:lines)" 'one
two'
  assert_eq "$(property "$(target ordinary)" org:odd)" "a	b'c\"d"
}

test_what_others_destroy_during_a_run_stops_nothing_else() {
  zfs create "$src/race"
  zfs set autobackup:race=true "$src/race"
  # A zfs that is slow enough for somebody else to destroy a dataset just before the command that has this in it.
  mkdir bin
  cat >bin/zfs <<'END'
#!/bin/bash
if [[ -s $MOMENT && "$*" == *"$(cat "$MOMENT")"* ]]; then
  : >"$MOMENT"
  "$ZFS" destroy -r "$VICTIM"
fi
exec "$ZFS" "$@"
END
  chmod 755 bin/zfs
  ZFS=$(command -v zfs) MOMENT=$PWD/moment VICTIM=$src/race/b PATH=$PWD/bin:$PATH
  export ZFS MOMENT VICTIM
  local day=10 moment
  for moment in "list -Hp -d 0 -t" "list -Hp -d 1 -t snapshot" "snapshot $src/race@" "get -Hp -o name,property,source,value type"; do
    for ds in a b c; do exists "$src/race/$ds" || zfs create "$src/race/$ds"; done
    write_file "$src/race/c" 64 "day$day"
    cat >mine.lua <<END
return require "policies.autobackup":extend { select = function(_, _, ctx) if ctx.type == "volume" then return false end end }
END
    chmod 600 mine.lua
    echo "$moment" >moment
    moonpool run "$PWD/mine.lua" race "$dst/race" --now "202601${day}000000" 2>err
    assert_eq "$(cat moment err)" '' "$moment"
    assert_missing "$src/race/b"
    same_guids "$src/race/c" "$(target race/c)"
    day=$((day + 1))
  done
  assert_eq "$(count "$(target race/c)")" 4
}

test_a_user_who_is_not_root_needs_only_what_zfs_allow_gives() {
  local user=(setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$T/their")
  forest nobody 9
  zfs create -o canmount=off "$dst/nobody"
  zfs allow -u 1000 send,snapshot,hold,release,bookmark,destroy,mount "$src/nobody"
  zfs allow -u 1000 "receive,create,mount,hold,release,destroy,compression,mountpoint,canmount,userprop,quota,refquota,refreservation" "$dst/nobody"
  # As zfs's udev rules have it. And what is below root's home can't be run by others.
  chmod 666 /dev/zfs
  chmod 711 "$TMP" "$T"
  install -d -o 1000 -g 1000 "$T/their"
  install -m 755 "$MOONPOOL" "$TMP/moonpool"
  for day in 1 2; do
    (cd / && "${user[@]}" "$TMP/moonpool" autobackup nobody "$dst/nobody" --now "2026010${day}000000" --allow-empty)
  done
  for ds in nobody nobody/d2 nobody/d9; do same_guids "$src/$ds" "$(target $ds)"; done
  assert_eq "$(zfs list -Hro name -t bookmark "$src/nobody" | wc -l)" 9
  assert_eq "$(count "$(target nobody/d9)")" 2
}

test_filters_compress_and_jobs() {
  tree pipes
  for i in 1 2 3; do zfs create "$src/pipes/sub/$i"; done
  backup pipes --send-pipe 'gzip -c' --recv-pipe 'gzip -dc' --jobs 3 --now 20260101000000
  for ds in pipes pipes/sub pipes/sub/1 pipes/sub/2 pipes/sub/3; do same_guids "$src/$ds" "$(target $ds)"; done
  refuses backup pipes --send-pipe 'exit 3' --allow-empty --now 20260102000000
  assert_eq "$status" 5
  backup pipes --now 20260103000000
}

test_the_report_tells_what_was_done() {
  tree report
  backup report --now 20260101000000 --json "$T/json" --metrics "$T/metrics"
  assert_match "$(cat "$T/json")" '"result":"sent"'
  assert_match "$(cat "$T/json")" '"lag_seconds":0'
  assert_match "$(cat "$T/metrics")" "moonpool_dataset_ok\{.*dataset=\"$src/report/sub\"\} 1"
  assert_match "$(cat "$T/metrics")" '^# EOF$'
}

test_explain_tells_why_and_changes_nothing() {
  tree why
  backup why --now 20260101000000
  write_file "$src/why" 32 more
  backup why --now 20260102000000
  before=$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")
  out=$(backup why --explain --keep-source 0 --now 20260301000000)
  assert_eq "$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")" "$before"
  assert_match "$out" "^$src/why: selected \(direct selection\)"
  assert_match "$out" "^$src/why@why-20260101000000 goes"
  assert_match "$out" "^$src/why@why-20260102000000 stays: "
}

test_more_datasets_than_a_command_line_can_name_are_one_transaction_all_the_same() {
  tree lots
  for i in 1 2 3 4 5; do zfs create "$src/lots/$i"; done
  moonpool lua "$tests/zfs/many_snapshots.lua" lots 50
  assert_eq "$(zfs list -Hpr -t snapshot -o createtxg "$src/lots" | sort | uniq -c | tr -s ' ' | cut -d ' ' -f 2)" 7
}
