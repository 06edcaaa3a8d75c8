# The stock policy on real pools, on this machine: selection, snapshot, transfer, resume, holds, thinning, exit status.
# shellcheck shell=bash disable=SC2154

setup() {
  pool src 300
  pool dst 300
}

# own DATASET NAME: how many snapshots of that backup it has
own() { snapshots "$1" | grep -c "@$2-" || true; }

test_two_runs_give_two_generations_on_both_sides_with_the_same_guids() {
  tree two
  backup two --now 20260101000000
  write_file "$src/two/sub" 64 second
  backup two --now 20260102000000
  assert_eq "$(own "$src/two/sub" two)" 2
  assert_eq "$(own "$dst/two/$src/two/sub" two)" 2
  assert_eq "$(own "$src/two" two)" 1
  same_guids "$src/two/sub" "$dst/two/$src/two/sub"
  same_guids "$src/two" "$dst/two/$src/two"
}

test_all_datasets_of_a_run_are_snapshotted_in_one_transaction_group() {
  tree atomic
  backup atomic
  assert_eq "$(zfs list -Hp -o createtxg -t snapshot -r "$src/atomic" | sort -u | wc -l)" 1
}

test_a_second_run_with_nothing_written_makes_no_snapshot_and_is_silent() {
  tree still
  backup still --now 20260101000000
  out=$(backup still --now 20260102000000 2>&1)
  assert_eq "$out" ""
  assert_eq "$(own "$src/still" still)" 1
}

test_allow_empty_snapshots_all_the_same() {
  tree empty
  backup empty --now 20260101000000
  backup empty --now 20260102000000 --allow-empty
  assert_eq "$(own "$src/empty" empty)" 2
  assert_eq "$(own "$dst/empty/$src/empty/sub" empty)" 2
}

test_the_newest_common_snapshot_is_held_on_both_sides_and_older_ones_are_let_go() {
  tree held
  backup held --now 20260101000000
  backup held --now 20260102000000 --allow-empty
  new=held-20260102000000 old=held-20260101000000
  assert_eq "$(zfs holds -H "$src/held@$new" | cut -f2 | cut -d: -f1,2)" zfs_autobackup:held
  assert_eq "$(zfs holds -H "$dst/held/$src/held@$new" | cut -f2)" zfs_autobackup:held
  assert_eq "$(zfs holds -H "$src/held@$old" "$dst/held/$src/held@$old")" ""
}

test_one_bookmark_a_dataset_stands_for_the_common_snapshot() {
  tree marked
  backup marked --now 20260101000000
  backup marked --now 20260102000000 --allow-empty
  assert_eq "$(zfs list -H -o name -t bookmark "$src/marked" | sed 's/:[0-9a-f]*$//')" "$src/marked#marked-20260102000000"
}

test_a_lost_source_snapshot_is_no_matter_while_its_bookmark_is_there() {
  tree lost
  backup lost --now 20260101000000 --no-holds
  zfs destroy "$src/lost@lost-20260101000000"
  write_file "$src/lost" 64 more
  backup lost --now 20260102000000
  assert_eq "$(own "$dst/lost/$src/lost" lost)" 2
}

test_no_snapshot_and_no_send_do_as_they_say() {
  tree parts
  backup parts --no-send --now 20260101000000
  refuses zfs list "$dst/parts/$src/parts"
  assert_eq "$(own "$src/parts" parts)" 1
  backup parts --no-snapshot --now 20260102000000
  assert_eq "$(own "$src/parts" parts)" 1
  assert_eq "$(own "$dst/parts/$src/parts" parts)" 1
}

test_without_a_target_path_the_source_is_snapshotted_and_thinned() {
  tree alone
  moonpool autobackup alone --now 20260101000000
  moonpool autobackup alone --now 20260201000000 --allow-empty --keep-source 7
  assert_eq "$(snapshots "$src/alone")" "$src/alone@alone-20260201000000"
}

test_child_parent_and_false_select_as_the_readme_says() {
  zfs create "$src/choose"
  zfs create "$src/choose/in"
  zfs create "$src/choose/out"
  zfs create "$src/choose/only"
  zfs create "$src/choose/only/below"
  zfs set autobackup:choose=child "$src/choose"
  zfs set autobackup:choose=false "$src/choose/out"
  zfs set autobackup:choose=parent "$src/choose/only"
  backup choose
  assert_eq "$(zfs list -H -o name -t snapshot -r "$src/choose" | sed 's/@.*//')" "$src/choose/in
$src/choose/only"
}

test_a_bad_value_is_named_counts_as_one_failure_and_the_rest_goes_on() {
  tree odd
  zfs create "$src/odd/bad"
  zfs create "$src/odd/bad/child"
  zfs set autobackup:odd=yes "$src/odd/bad"
  status=0
  out=$(backup odd 2>&1) || status=$?
  assert_eq "$status" 1
  assert_match "$out" "$src/odd/bad: .*has the value 'yes'"
  assert_eq "$(own "$dst/odd/$src/odd/sub" odd)" 1
}

test_received_properties_do_not_select() {
  tree chain
  backup chain
  status=0
  moonpool autobackup chain --verbose >"$TMP/chain.out" || status=$?
  assert_eq "$status" 0
  assert_match "$(cat "$TMP/chain.out")" "Ignoring: $dst/chain/$src/chain .received property"
}

test_nothing_selected_exits_255_and_says_what_to_type() {
  status=0
  out=$(backup nobody 2>&1) || status=$?
  assert_eq "$status" 255
  assert_match "$out" "zfs set autobackup:nobody=true"
  refuses zfs list "$dst/nobody"
}

test_strip_path_drops_components_and_too_many_are_refused_before_anything_changes() {
  tree strip
  backup strip --strip-path 1
  assert_eq "$(own "$dst/strip/strip/sub" strip)" 1
  zfs create "$src/deep"
  zfs set autobackup:deep=true "$src/deep"
  status=0
  out=$(backup deep --strip-path 2 2>&1) || status=$?
  assert_eq "$status" 253
  assert_match "$out" "strip-path 2 leaves nothing of $src/deep"
  assert_eq "$(snapshots "$src/deep")" ""
  refuses zfs list "$dst/deep"
}

test_test_mode_changes_nothing_and_shows_the_commands() {
  tree dry
  before=$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")
  out=$(backup dry --test)
  assert_eq "$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")" "$before"
  assert_match "$out" "zfs snapshot"
  assert_match "$out" "zfs receive"
  backup dry
  write_file "$src/dry" 64 more
  before=$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")
  out=$(backup dry --test --keep-source 0 --now 20300101000000)
  assert_eq "$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")" "$before"
  assert_match "$out" "incremental backup"
}

test_clear_options_and_filtered_properties_act_on_the_target() {
  zfs create -o devices=off -o compression=gzip "$src/props"
  zfs create -V 8M "$src/props/vol"
  zfs set autobackup:props=true "$src/props"
  backup props --clear-refreservation --clear-mountpoint --filter-properties devices,compression --set-properties atime=off,readonly=on
  assert_eq "$(zfs get -Hp -o value canmount "$dst/props/$src/props")" noauto
  assert_eq "$(zfs get -Hp -o value refreservation "$dst/props/$src/props/vol")" 0
  assert_eq "$(zfs get -Hp -o value devices "$dst/props/$src/props")" on
  assert_eq "$(zfs get -Hp -o value readonly "$dst/props/$src/props/vol")" on
  assert_eq "$(zfs get -Hp -o source compression "$dst/props/$src/props")" default
  assert_eq "$(zfs get -Hp -o value mounted "$dst/props/$src/props")" no
}

test_a_changed_target_fails_with_a_hint_and_rollback_mends_it() {
  tree roll
  backup roll --now 20260101000000
  zfs set mountpoint="$TMP/roll" "$dst/roll/$src/roll"
  zfs mount "$dst/roll/$src/roll" 2>/dev/null || true
  echo changed >"$TMP/roll/changed"
  zfs unmount "$dst/roll/$src/roll"
  write_file "$src/roll" 64 more
  status=0
  out=$(backup roll --now 20260102000000 2>&1) || status=$?
  assert_eq "$status" 1
  assert_match "$out" "rollback"
  backup roll --now 20260103000000 --rollback
  same_guids "$src/roll" "$dst/roll/$src/roll"
}

test_newer_snapshots_on_the_target_fail_and_ignore_new_leaves_them_out() {
  tree newer
  backup newer --now 20260101000000
  zfs snapshot "$dst/newer/$src/newer@foreign"
  write_file "$src/newer" 64 more
  status=0
  out=$(backup newer --now 20260102000000 2>&1) || status=$?
  assert_eq "$status" 1
  assert_match "$out" "1 snapshot newer than the common newer-20260101000000: foreign"
  backup newer --now 20260103000000 --ignore-new
  assert_eq "$(own "$dst/newer/$src/newer" newer)" 1
  zfs list "$dst/newer/$src/newer@foreign" >/dev/null
}

test_thinning_by_days_keeps_the_common_snapshot_however_old() {
  tree thin
  for day in 01 02 03 04 05; do backup thin --now "202601${day}000000" --allow-empty --keep-source 2 --keep-target 3; done
  assert_eq "$(snapshots "$src/thin" | tr '\n' ' ')" "$src/thin@thin-20260103000000 $src/thin@thin-20260104000000 $src/thin@thin-20260105000000 "
  assert_eq "$(own "$dst/thin/$src/thin" thin)" 4
  backup thin --now 20270101000000 --no-snapshot --keep-source 0 --keep-target 0
  assert_eq "$(snapshots "$src/thin")" "$src/thin@thin-20260105000000"
  assert_eq "$(snapshots "$dst/thin/$src/thin")" "$dst/thin/$src/thin@thin-20260105000000"
}

test_foreign_snapshots_held_ones_and_origins_of_clones_are_never_destroyed() {
  tree keep
  zfs snapshot "$src/keep@manual"
  backup keep --now 20260101000000
  backup keep --now 20260102000000 --allow-empty
  backup keep --now 20260103000000 --allow-empty
  zfs hold mine "$src/keep@keep-20260101000000"
  zfs clone "$src/keep@keep-20260102000000" "$src/clone"
  backup keep --now 20260301000000 --no-snapshot --keep-source 0
  assert_eq "$(snapshots "$src/keep" | wc -l)" 4
  zfs release mine "$src/keep@keep-20260101000000"
  zfs destroy "$src/clone"
  backup keep --now 20260302000000 --no-snapshot --keep-source 0
  assert_eq "$(snapshots "$src/keep" | tr '\n' ' ')" "$src/keep@manual $src/keep@keep-20260103000000 "
}

test_a_clock_behind_the_newest_snapshot_destroys_nothing_and_is_a_failure() {
  tree clock
  backup clock --now 20260101000000
  backup clock --now 20260301000000 --allow-empty --keep-source 365
  status=0
  out=$(backup clock --now 20260201000000 --no-snapshot --keep-source 0 2>&1) || status=$?
  assert_match "$out" "clock is earlier than the newest snapshot"
  [ "$status" -ge 1 ]
  assert_eq "$(own "$src/clock" clock)" 2
}

test_a_cut_off_receive_is_resumed() {
  tree resume
  backup resume --now 20260101000000
  write_file "$src/resume" 8192 big
  zfs snapshot "$src/resume@resume-20260102000000"
  cut_receive "$src/resume@resume-20260101000000" "$src/resume@resume-20260102000000" "$dst/resume/$src/resume"
  assert_match "$(zfs get -Hp -o value receive_resume_token "$dst/resume/$src/resume")" "^1-"
  out=$(backup resume --now 20260103000000 --no-snapshot --verbose)
  assert_match "$out" "Resuming $src/resume"
  same_guids "$src/resume" "$dst/resume/$src/resume"
  assert_eq "$(zfs get -Hp -o value receive_resume_token "$dst/resume/$src/resume")" -
}

test_a_token_whose_snapshot_is_gone_is_dropped_and_the_backup_goes_on() {
  tree stale
  backup stale --now 20260101000000
  write_file "$src/stale" 8192 big
  zfs snapshot "$src/stale@stale-20260102000000"
  cut_receive "$src/stale@stale-20260101000000" "$src/stale@stale-20260102000000" "$dst/stale/$src/stale"
  zfs destroy "$src/stale@stale-20260102000000"
  out=$(backup stale --now 20260103000000 --verbose)
  assert_match "$out" "Dropping the partial receive"
  same_guids "$src/stale" "$dst/stale/$src/stale"
}

test_a_cut_off_first_receive_is_resumed_too() {
  tree first
  write_file "$src/first" 8192 big
  backup first --no-send --now 20260101000000
  zfs create -p -o canmount=off "$dst/first/$src"
  cut_receive "" "$src/first@first-20260101000000" "$dst/first/$src/first"
  out=$(backup first --no-snapshot --now 20260101000001 --verbose)
  assert_match "$out" "Resuming $src/first"
  same_guids "$src/first" "$dst/first/$src/first"
  same_guids "$src/first/sub" "$dst/first/$src/first/sub"
}

test_an_encrypted_dataset_goes_raw_with_its_key_unloaded() {
  zfs create -o encryption=on -o keyformat=passphrase "$src/secret" <<PASS
correct horse
PASS
  write_file "$src/secret" 64 first
  zfs set autobackup:secret=true "$src/secret"
  zfs unmount "$src/secret"
  zfs unload-key "$src/secret"
  backup secret --now 20260101000000
  backup secret --now 20260102000000 --allow-empty
  assert_eq "$(zfs get -Hp -o value keystatus "$dst/secret/$src/secret")" unavailable
  same_guids "$src/secret" "$dst/secret/$src/secret"
}

test_two_targets_of_one_source_do_not_disturb_each_other() {
  tree many
  moonpool autobackup many "$dst/one" --now 20260101000000
  moonpool autobackup many "$dst/two" --now 20260102000000 --no-snapshot
  moonpool autobackup many "$dst/one" --now 20260103000000 --allow-empty --keep-source 0
  # What the second target needs is still held, though the first one has moved on.
  assert_eq "$(zfs holds -H "$src/many@many-20260101000000" | wc -l)" 1
  moonpool autobackup many "$dst/two" --now 20260104000000 --no-snapshot --keep-source 0
  same_guids "$src/many" "$dst/two/$src/many"
  assert_eq "$(snapshots "$src/many")" "$src/many@many-20260103000000"
}

test_another_run_of_the_same_backup_exits_254() {
  tree lock
  refuses moonpool lua "$tests/zfs/hold_lock.lua" "autobackup lock local local $dst/lock" moonpool autobackup lock "$dst/lock"
  assert_eq "$status" 254
  assert_match "$err" 'another run of this backup is at work'
}

test_what_a_cut_off_transfer_was_to_send_stays_while_other_runs_thin() {
  tree several
  backup several --now 20260101000000
  moonpool autobackup several "$dst/several_too" --now 20260101000000
  for day in 2 3 4; do
    write_file "$src/several" 5000 "file$day"
    zfs snapshot "$src/several@several-2026010${day}000000"
  done
  "$MOONPOOL" autobackup several "$dst/several" --no-snapshot --rate 4M --now 20260104000001 &
  pid=$!
  wait_for_receive "$dst/several/$src/several"
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  wait_until_idle "$dst/several/$src/several"
  moonpool autobackup several "$dst/several_too" --keep-source 0 --now 20260105000000
  assert_eq "$(own "$src/several" several)" 4
  backup several --keep-source 0 --now 20260105000001
  same_guids "$src/several" "$dst/several/$src/several"
  assert_eq "$(own "$dst/several/$src/several" several)" 4
  assert_eq "$(own "$src/several" several)" 1
}

test_kill_minus_nine_in_the_middle_of_a_transfer_and_a_second_run() {
  tree killed
  backup killed --now 20260101000000
  write_file "$src/killed" 30000 big
  backup killed --now 20260102000000 --no-send
  "$MOONPOOL" autobackup killed "$dst/killed" --no-snapshot --rate 4M --now 20260102000001 &
  pid=$!
  wait_for_receive "$dst/killed/$src/killed"
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  # Nothing may destroy the base: it is held or bookmarked at any moment.
  assert_match "$(zfs holds -H "$src/killed@killed-20260101000000")" zfs_autobackup:killed
  wait_until_idle "$dst/killed/$src/killed"
  out=$(backup killed --no-snapshot --now 20260102000002 --verbose)
  assert_match "$out" "Resuming $src/killed"
  same_guids "$src/killed" "$dst/killed/$src/killed"
  assert_eq "$(zfs holds -H "$src/killed@killed-20260102000000" | wc -l)" 1
}
