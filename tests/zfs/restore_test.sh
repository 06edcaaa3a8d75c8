# shellcheck shell=bash disable=SC2154
# What the README of zfs_autobackup says besides options: the restore example, and that its snapshots, holds and cron lines go on working.

setup() {
  pool src 200
  pool dst 200
}

test_a_backup_is_restored_by_plain_zfs_commands() {
  zfs create "$src/vm"
  write_file "$src/vm" 200 disk
  zfs set autobackup:restore=true "$src/vm"
  moonpool autobackup restore "$dst/restore" --now 20260101000000
  find_mountpoint "$src/vm"
  sum=$(sha256sum <"$mountpoint/disk")
  zfs send "$dst/restore/$src/vm@restore-20260101000000" | zfs receive "$src/back"
  find_mountpoint "$src/back"
  assert_eq "$(sha256sum <"$mountpoint/disk")" "$sum"
}

test_a_backup_that_zfs_autobackup_began_goes_on_and_its_old_holds_are_let_go() {
  zfs create "$src/old"
  zfs set autobackup:old=true "$src/old"
  write_file "$src/old" 64 a
  # As version 2.4 left it: holds with the plain tag on both sides.
  zfs snapshot "$src/old@old-20251230120000"
  zfs create -p -o canmount=off "$dst/old/$src"
  zfs send -p "$src/old@old-20251230120000" | zfs receive -u "$dst/old/$src/old"
  zfs hold zfs_autobackup:old "$src/old@old-20251230120000" "$dst/old/$src/old@old-20251230120000"
  write_file "$src/old" 64 b
  moonpool autobackup old "$dst/old" --now 20260101000000
  same_guids "$src/old" "$dst/old/$src/old"
  assert_eq "$(zfs holds -H "$src/old@old-20251230120000" "$dst/old/$src/old@old-20251230120000")" ''
  moonpool autobackup old "$dst/old" --now 20260401000000 --allow-empty
  assert_eq "$(snapshots "$src/old" | sed 's/.*@//')" old-20260401000000
}

test_the_program_may_be_called_by_the_old_name() {
  zfs create "$src/compat"
  zfs set autobackup:compat=true "$src/compat"
  mkdir "$T/bin"
  for name in zfs_autobackup zfs-autobackup; do
    ln -s "$MOONPOOL" "$T/bin/$name"
    "$T/bin/$name" compat "$dst/compat" --clear-mountpoint --clear-refreservation --resume --buffer 1M --allow-empty
    sleep 1
  done
  assert_eq "$(snapshots "$dst/compat/$src/compat" | wc -l)" 2
}
