# shellcheck shell=bash disable=SC2154
# Very many datasets: all snapshots of a pool in one transaction, here and over SSH, however long the command would be.
#
#   DATASETS   how many (150). 5000 over SSH take 25 minutes where the machine is emulated, most of them in zfs's own listings:
#              DATASETS=5000 TEST=ssh_all TEST_TIMEOUT=3200 BED_TIMEOUT=3300 tests/bed/bed run -m 10000 -- tests/zfs/run tests/zfs/many_test.sh

setup() {
  pool src 6000
  sshd_start
  zfs create -o mountpoint=none "$src/many"
  zfs set autobackup:many=true "$src/many"
  # Long names, so that a command line gets long: 5000 of them have 1.1 MB.
  long=$(printf '%0180d' 0)
  cc -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -pthread "$tests/zfs/make_datasets.c" -o "$TMP/make_datasets" -ldl
  "$TMP/make_datasets" "$src/many/$long" "${DATASETS:-150}"
}

# All snapshots that were made last are of one transaction group.
one_transaction() {
  assert_eq "$(zfs list -Hpr -t snapshot -o createtxg,name "$src/many" | grep -c "$1")" "$((${DATASETS:-150} + 1))"
  assert_eq "$(zfs list -Hpr -t snapshot -o createtxg,name "$src/many" | grep "$1" | cut -f 1 | sort -u | wc -l)" 1
}

test_here_all_are_in_one_transaction_group() {
  time moonpool autobackup many --now 20260101000000
  one_transaction many-20260101000000
}

test_over_ssh_all_are_in_one_transaction_group() {
  time moonpool autobackup many --ssh-config "$ssh_config" --ssh-source far --allow-empty --now 20260102000000
  one_transaction many-20260102000000
}

test_over_ssh_with_one_channel_a_command_too() {
  # A command that is longer than the 128 KiB of one argument must not become one.
  time moonpool autobackup many --ssh-config "$ssh_config" --ssh-source far --ssh-program ssh --allow-empty --now 20260103000000
  one_transaction many-20260103000000
}

test_over_ssh_beyond_the_longest_command_a_channel_program_does_it() {
  moonpool lua "$tests/zfs/many_snapshots.lua" many 20000 far "$ssh_config" # without --now: its name is of this second
  one_transaction "many-$(date +%Y)"
}
