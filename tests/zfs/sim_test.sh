# shellcheck shell=bash disable=SC2154
# The simulator does and says what the real thing does: scripts of zfs commands run on both, and statuses, messages and listings are compared.

setup() {
  for name in simsrc simdst; do
    truncate -s 192M "$TMP/$name.pool"
    zpool create -f -o cachefile=none -O mountpoint="$TMP/mnt/$name" "$name" "$TMP/$name.pool"
  done
}

teardown() {
  zpool destroy -f simsrc
  zpool destroy -f simdst
}

test_every_script_ends_the_same_on_the_simulator_and_on_this_zfs() {
  moonpool lua "$tests/zfs/sim_agrees.lua" simsrc simdst "$checkout"/tests/lua/scripts/*.txt
}
