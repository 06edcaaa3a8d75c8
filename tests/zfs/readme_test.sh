# shellcheck shell=bash disable=SC2154
# The README of zfs_autobackup 2.4, from top to bottom: each command that it shows, with only the program's name replaced, does what its text says.

setup() {
  pool src 250
  pool dst 250
  sshd_start
  # As the README calls it; the host's name is in its ssh configuration.
  mkdir -p "$TMP/bin"
  ln -s "$MOONPOOL" "$TMP/bin/zfs_autobackup"
  mkdir -p "$HOME/.ssh"
  cp "$ssh_config" "$HOME/.ssh/config"
  PATH="$TMP/bin:$PATH"
}

# "zones" with a system, a disk image, and what must not be backed up.
zones() { # NAME
  zfs create "$src/$1"
  zfs create "$src/$1/1eb33958"
  zfs create -V 8M "$src/$1/a3abd6c8-disk0"
  zfs create "$src/$1/backup"
  zfs create "$src/$1/backup/fs1"
  write_file "$src/$1/1eb33958" 64 first
  zfs set "autobackup:$1_fs1=true" "$src/$1"
  zfs set "autobackup:$1_fs1=false" "$src/$1/backup"
}

test_method_1_pulls_and_says_what_the_readme_shows() {
  zones pulled
  zfs_autobackup --ssh-source far pulled_fs1 "$dst/zones/pulled" --verbose >out
  for line in 'Getting selected source filesystems for backup pulled_fs1 on far' "Selected: $src/pulled (direct selection)" \
    "Selected: $src/pulled/1eb33958 (inherited selection)" "Ignoring: $src/pulled/backup (disabled)" "Ignoring: $src/pulled/backup/fs1 (disabled)" \
    'Getting source snapshot-list from far' 'Getting target snapshot-list from local' 'Destroying old snapshots on source' \
    'Destroying old snapshots on target' 'All done'; do
    grep -qxF "$line" out || fail "this is not said: $line"
  done
  grep -qE '^Creating source snapshot pulled_fs1-[0-9]{14} on far$' out
  sleep 1
  write_file "$src/pulled/1eb33958" 64 second
  zfs_autobackup --ssh-source far pulled_fs1 "$dst/zones/pulled" --verbose >out
  grep -qE "^Transferring $src/pulled/1eb33958 incremental backup between snapshots pulled_fs1-[0-9]{14}\.\.\.pulled_fs1-[0-9]{14}\$" out
  grep -qE '^received [0-9.]+[KMGB] stream in ' out
  same_guids "$src/pulled/1eb33958" "$dst/zones/pulled/$src/pulled/1eb33958"
  assert_missing "$dst/zones/pulled/$src/pulled/backup"
}

test_method_2_pushes_with_compression() {
  zones pushed
  zfs_autobackup --ssh-target far pushed_fs1 "$dst/zones/pushed" --verbose --compress >out
  assert_eq "$(tail -1 out)" 'All done'
  same_guids "$src/pushed/a3abd6c8-disk0" "$dst/zones/pushed/$src/pushed/a3abd6c8-disk0"
}

test_tip_a_target_that_is_readonly_is_not_changed_and_what_was_changed_needs_rollback() {
  zones tips
  zfs create -p "$dst/zones/tips"
  zfs set readonly=on "$dst/zones/tips"
  zfs_autobackup tips_fs1 "$dst/zones/tips" --clear-refreservation --clear-mountpoint
  there=$dst/zones/tips/$src/tips/1eb33958
  assert_eq "$(property "$there" readonly)" on
  assert_eq "$(property "$there" canmount)" noauto
  assert_eq "$(property "$dst/zones/tips/$src/tips/a3abd6c8-disk0" refreservation)" 0
  sleep 1
  write_file "$src/tips/1eb33958" 64 second
  zfs_autobackup tips_fs1 "$dst/zones/tips" --clear-refreservation --clear-mountpoint
  # Without it somebody changes the target.
  zfs set readonly=off mountpoint="$T/there" "$there"
  zfs mount "$there"
  write_file "$there" 64 foreign
  sleep 1
  write_file "$src/tips/1eb33958" 64 third
  refuses zfs_autobackup tips_fs1 "$dst/zones/tips"
  assert_contains "$err" --rollback
  zfs_autobackup tips_fs1 "$dst/zones/tips" --rollback
  same_guids "$src/tips/1eb33958" "$there"
}

test_the_ssh_configuration_of_the_readme_is_understood() {
  zones conf
  {
    printf 'Host *\n    ControlPath ~/.ssh/control-master-%%r@%%h:%%p\n    ControlMaster auto\n    ControlPersist 3600\n'
    sed 's/^Host far/Host smartos04/; s/HostName/Hostname/; s/User root/user root\n    Compression yes/' "$TMP/file/ssh_config"
  } >config
  cp config "$HOME/.ssh/config"
  zfs_autobackup --ssh-source smartos04 conf_fs1 "$dst/zones/conf" >out 2>&1
  cp "$TMP/file/ssh_config" "$HOME/.ssh/config"
  # libssh shares its sessions by itself; that these keywords are not its own is said once, each.
  assert_eq "$(grep -vc 'ControlPath\|ControlMaster\|ControlPersist' out || :)" 0
  same_guids "$src/conf" "$dst/zones/conf/$src/conf"
  assert_missing "$HOME/.ssh/control-master-root@127.0.0.1:2200"
}

test_troubleshooting_a_snapshot_that_was_made_on_the_target_meanwhile() {
  zones trouble
  zfs_autobackup trouble_fs1 "$dst/zones/trouble"
  there=$dst/zones/trouble/$src/trouble/1eb33958
  zfs snapshot "$there@made-by-hand"
  sleep 1
  write_file "$src/trouble/1eb33958" 64 second
  refuses zfs_autobackup trouble_fs1 "$dst/zones/trouble"
  assert_contains "$err" "zfs destroy $there@made-by-hand"
  zfs destroy "$there@made-by-hand"
  zfs_autobackup trouble_fs1 "$dst/zones/trouble"
  same_guids "$src/trouble/1eb33958" "$there"
}

test_troubleshooting_properties_that_the_target_does_not_know_are_filtered() {
  zones xattr
  zfs set xattr=sa "$src/xattr"
  zfs_autobackup xattr_fs1 "$dst/zones/xattr" --filter-properties xattr --filter-properties acltype
  assert_eq "$(zfs get -Ho source xattr "$dst/zones/xattr/$src/xattr")" default
}

test_a_disk_image_is_restored_over_ssh_with_simple_zfs_commands() {
  zones image
  head -c 1000000 /dev/urandom | dd of="/dev/zvol/$src/image/a3abd6c8-disk0" bs=64k conv=notrunc 2>/dev/null
  sum=$(head -c 1000000 "/dev/zvol/$src/image/a3abd6c8-disk0" | sha256sum)
  zfs_autobackup image_fs1 "$dst/zones/image" --clear-refreservation --now 20160110000003
  zfs send "$dst/zones/image/$src/image/a3abd6c8-disk0@image_fs1-20160110000003" | ssh -F "$ssh_config" far "zfs recv $src/restore"
  # The device of a volume appears a moment later.
  until [ -e "/dev/zvol/$src/restore" ]; do sleep 0.1; done
  assert_eq "$(head -c 1000000 "/dev/zvol/$src/restore" | sha256sum)" "$sum"
}

test_the_exit_status_is_what_a_monitoring_job_is_told() {
  zones cron
  zfs set autobackup:cron_fs1=maybe "$src/cron/1eb33958"
  told=
  zfs_autobackup cron_fs1 "$dst/zones/cron" 2>/dev/null || told=$?
  assert_eq "$told" 1
}
