# shellcheck shell=bash disable=SC2154
# The stock policies beside autobackup, on real pools.

setup() {
  pool src 250
  pool dst 250
  sshd_start
}

over_ssh() { moonpool run "$@" --ssh-config "$ssh_config"; }

test_snapshot_takes_what_is_due_and_thins_what_is_over() {
  zfs create "$src/plan"
  zfs set autobackup:plan=true "$src/plan"
  for time in 20260101000000 20260101003000 20260101010000 20260101020000 20260102000000; do
    moonpool run snapshot plan --hourly 2 --daily 2 --weekly 0 --monthly 0 --now "$time"
  done
  assert_eq "$(snapshots "$src/plan" | sed 's/.*-//' | tr '\n' ' ')" '20260101000000 20260102000000 '
}

test_prune_thins_what_a_pattern_names_and_nothing_else() {
  zfs create "$src/prune"
  for i in 1 2 3 4; do
    zfs snapshot "$src/prune@auto-$i"
    zfs snapshot "$src/prune@mine-$i"
  done
  zfs hold keep "$src/prune@auto-1"
  moonpool run prune --dataset "$src/prune" --pattern '^auto-' --keep-source last1 --test >out
  assert_contains "$(cat out)" "would run: zfs destroy $src/prune@auto-2,auto-3"
  assert_eq "$(count "$src/prune")" 8
  moonpool run prune --dataset "$src/prune" --pattern '^auto-' --keep-source last1
  assert_eq "$(snapshots "$src/prune" | grep auto | sed 's/.*@//' | tr '\n' ' ')" 'auto-1 auto-4 '
  assert_eq "$(snapshots "$src/prune" | grep -c mine)" 4
  refuses moonpool run prune --dataset "$src/none" --pattern x
  assert_contains "$err" "there is no dataset $src/none"
}

test_replicate_takes_trees_without_properties() {
  zfs create "$src/bare"
  zfs create "$src/bare/sub"
  zfs create "$src/bare/tmp"
  write_file "$src/bare/sub" 64
  moonpool run replicate --dataset "$src/bare" --exclude '**/tmp' copy "$dst/copy"
  same_guids "$src/bare/sub" "$dst/copy/$src/bare/sub"
  assert_missing "$dst/copy/$src/bare/tmp"
}

test_fleet_pulls_hosts_and_goes_on_without_one() {
  forest fleet 2
  printf 'Host gone\n  HostName 127.0.0.1\n  Port 1\n' >>"$ssh_config"
  refuses over_ssh fleet --hosts gone,far fleet "$dst/fleet"
  assert_eq "$status" 1
  assert_match "$err" '^moonpool: gone: .*(refused|connect)'
  same_guids "$src/fleet/d2" "$dst/fleet/far/$src/fleet/d2"
}

test_monitor_tells_the_age_of_backups() {
  tree seen
  run moonpool run monitor seen "$dst/seen"
  assert_eq "$status" 2
  assert_contains "$out" "CRITICAL: backup seen: $src/seen has no backup"
  assert_missing "$dst/seen"
  backup seen --now 20260101000000
  moonpool run monitor seen "$dst/seen" --now 20260101120000 >out
  assert_match "$(cat out)" "^OK: backup seen: 2 datasets, .* \| '$src/seen'=43200s;93600;180000;0 "
  run moonpool run monitor seen "$dst/seen" --now 20260102120000
  assert_eq "$status" 1
  run moonpool run monitor none "$dst/seen"
  assert_eq "$status" 3
}

test_restore_brings_back_beside_the_original_and_over_ssh() {
  tree lost
  zfs set org:colour=blue compression=gzip "$src/lost/sub"
  backup lost --clear-mountpoint --now 20260101000000
  find_mountpoint "$src/lost/sub"
  sum=$(sha256sum <"$mountpoint/first")
  refuses moonpool run restore --from "$dst/lost/$src/lost/sub" --to "$src/lost/sub"
  assert_contains "$err" "$src/lost/sub exists"
  moonpool run restore --from "$dst/lost/$src/lost/sub" --to "$src/lost/back"
  zfs mount "$src/lost/back" || :
  find_mountpoint "$src/lost/back"
  assert_eq "$(sha256sum <"$mountpoint/first")" "$sum"
  # Properties come back, what the backup server set for itself does not.
  assert_eq "$(property "$src/lost/back" compression) $(property "$src/lost/back" org:colour)" 'gzip blue'
  assert_eq "$(property "$src/lost/back" canmount) $(property "$src/lost/back" moonpool:source)" 'on -'
  over_ssh restore --ssh-source far --from "$dst/lost/$src/lost/sub" --to "$src/lost/sub" --over aside
  same_guids "$dst/lost/$src/lost/sub" "$src/lost/sub"
  assert_eq "$(zfs list -Ho name -r "$src/lost" | grep -c 'sub.before-')" 1
}

test_restore_that_is_cut_off_goes_on() {
  zfs create "$src/big"
  write_file "$src/big" 20000
  zfs set autobackup:big=true "$src/big"
  backup big --now 20260101000000
  moonpool run restore --from "$dst/big/$src/big" --to "$src/again" --rate 4M >said 2>&1 &
  pid=$!
  wait_for_receive "$src/again"
  kill -9 $pid
  wait $pid || :
  wait_until_idle "$src/again"
  assert_lacks "$(property "$src/again" receive_resume_token)" ' '
  moonpool run restore --from "$dst/big/$src/big" --to "$src/again" --verbose >said
  assert_contains "$(cat said)" 'Going on where it was cut off'
  same_guids "$dst/big/$src/big" "$src/again"
}

test_verify_compares_by_guid_and_by_contents() {
  tree check
  zfs create -V 8M "$src/check/disk"
  head -c 1000000 /dev/urandom | dd of="/dev/zvol/$src/check/disk" bs=64k conv=notrunc 2>/dev/null
  zpool sync
  backup check --now 20260101000000
  moonpool run verify check "$dst/check" --contents 0 --verbose >out
  assert_eq "$(grep -c 'has the same' out)" 3
  assert_eq "$(zfs list -Ho name -r "$src/check" "$dst/check" | grep -c verify-)" 0
  # Another snapshot under the same name is found out.
  zfs release zfs_autobackup:check "$(target check)@check-20260101000000"
  zfs destroy "$(target check)@check-20260101000000"
  zfs snapshot "$(target check)@check-20260101000000"
  refuses moonpool run verify check "$dst/check"
  assert_eq "$status" 1
  assert_contains "$err" "$src/check: @check-20260101000000 is another snapshot on the target"
}
