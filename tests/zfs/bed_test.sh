# shellcheck shell=bash disable=SC2154
# The bed itself: what the other tests take for granted works here.

setup() {
  pool src
  pool dst
  zfs create -o mountpoint=none "$dst/b"
}

test_a_full_and_an_incremental_stream_arrive() {
  zfs create "$src/a"
  write_file "$src/a" 300
  zfs snapshot "$src/a@1"
  zfs send "$src/a@1" | zfs receive -u "$dst/b/a"
  write_file "$src/a" 100
  zfs snapshot "$src/a@2"
  zfs send -i @1 "$src/a@2" | zfs receive -u "$dst/b/a"
  assert_eq "$(snapshots "$dst/b/a")" "$dst/b/a@1"$'\n'"$dst/b/a@2"
  same_guids "$src/a" "$dst/b/a"
  zfs snapshot "$src/a@3"
  known_guids "$src/a" "$dst/b/a"
  run known_guids "$dst/b/a" "$src/a"
  assert_eq "$status" 1
  run same_guids "$src/a" "$dst/b/a"
  assert_eq "$status" 1
}

test_written_counts_what_was_written_since_the_snapshot() {
  zfs create "$src/written"
  zfs snapshot "$src/written@1"
  assert_eq "$(property "$src/written" written)" 0
  write_file "$src/written" 200
  [ "$(property "$src/written" written@1)" -ge 200000 ]
}

test_a_held_snapshot_is_not_destroyed() {
  zfs create "$src/held"
  zfs snapshot "$src/held@1"
  zfs hold tag "$src/held@1"
  assert_eq "$(holds "$src/held@1")" tag
  refuses zfs destroy "$src/held@1"
  assert_match "$err" 'busy|being held'
  zfs release tag "$src/held@1"
  zfs destroy "$src/held@1"
  assert_missing "$src/held@1"
}

test_a_bookmark_is_a_base_for_a_stream() {
  zfs create "$src/marked"
  zfs snapshot "$src/marked@1"
  zfs bookmark "$src/marked@1" "$src/marked#1"
  assert_eq "$(guid "$src/marked#1")" "$(guid "$src/marked@1")"
  zfs send "$src/marked@1" | zfs receive -u "$dst/b/marked"
  zfs destroy "$src/marked@1"
  write_file "$src/marked" 50
  zfs snapshot "$src/marked@2"
  zfs send -i '#1' "$src/marked@2" | zfs receive -u "$dst/b/marked"
  assert_exists "$dst/b/marked@2"
}

test_a_cut_off_stream_leaves_a_token_to_resume_it() {
  local token
  zfs create "$src/cut"
  write_file "$src/cut" 3000
  zfs snapshot "$src/cut@1"
  zfs send "$src/cut@1" >"$T/stream"
  head -c 2000000 "$T/stream" >"$T/part"
  refuses zfs receive -s -u "$dst/b/cut" <"$T/part"
  token=$(property "$dst/b/cut" receive_resume_token)
  zfs send -t "$token" | zfs receive -s -u "$dst/b/cut"
  assert_eq "$(guid "$dst/b/cut@1")" "$(guid "$src/cut@1")"
}

test_a_volume_has_its_device_and_is_sent() {
  zfs create -V 8M "$src/volume"
  timeout 10 sh -c "until [ -e '/dev/zvol/$src/volume' ]; do sleep 0.1; done"
  echo content | dd of="/dev/zvol/$src/volume" conv=fsync
  zfs snapshot "$src/volume@1"
  zfs send "$src/volume@1" | zfs receive -u "$dst/b/volume"
  assert_eq "$(guid "$dst/b/volume@1")" "$(guid "$src/volume@1")"
}

test_an_encrypted_dataset_is_sent_raw_and_not_in_plain_without_its_key() {
  echo password >"$T/key"
  zfs create -o encryption=on -o keyformat=passphrase -o keylocation="file://$T/key" -o pbkdf2iters=100000 "$src/secret"
  write_file "$src/secret" 100
  zfs snapshot "$src/secret@1"
  zfs send -w "$src/secret@1" | zfs receive -u "$dst/b/secret"
  assert_eq "$(property "$dst/b/secret" keystatus)" unavailable
  zfs unmount "$src/secret"
  zfs unload-key "$src/secret"
  refuses zfs send "$src/secret@1"
}

test_a_pool_can_be_full() {
  pool tiny 64
  zfs create "$tiny/a"
  find_mountpoint "$tiny/a"
  refuses dd if=/dev/urandom of="$mountpoint/file" bs=1M count=80
  assert_contains "$err" 'No space left'
  drop_pool tiny
}

test_a_stream_goes_through_sshd_on_loopback() {
  sshd_start
  zfs create "$src/remote"
  write_file "$src/remote" 500
  zfs snapshot "$src/remote@1"
  zfs send "$src/remote@1" | ssh -F "$ssh_config" far zfs receive -u "$dst/b/remote"
  same_guids "$src/remote" "$dst/b/remote"
}

test_sshd_takes_options_and_root_has_a_plain_shell() {
  sshd_start one MaxSessions=1
  sshd_start two
  assert_eq "$(head -n 1 "$T/sshd-one/config")" 'MaxSessions 1'
  assert_eq "$(ssh -F "$ssh_config" one 'echo plain')" plain
  assert_eq "$(ssh -F "$ssh_config" two hostname)" "$(hostname)"
  sshd_stop two
  refuses ssh -F "$ssh_config" two true
}

test_a_network_of_its_own_can_be_slow() {
  local began
  ip netns add "$id-far"
  ip link add near type veth peer name far netns "$id-far"
  ip address add 10.9.8.1/24 dev near
  ip link set near up
  ip -n "$id-far" address add 10.9.8.2/24 dev far
  ip -n "$id-far" link set far up
  tc qdisc add dev near root netem delay 300ms
  began=${EPOCHREALTIME/./}
  # Nobody listens there: the refusal is an answer that takes the way there and back.
  refuses bash -c ': </dev/tcp/10.9.8.2/9'
  assert_contains "$err" refused
  [ $((${EPOCHREALTIME/./} - began)) -ge 300000 ]
  ip link del near
  ip netns del "$id-far"
}

test_processes_are_counted() {
  started sh -c '/bin/true; /bin/true'
  [ "$started" -ge 3 ]
}
