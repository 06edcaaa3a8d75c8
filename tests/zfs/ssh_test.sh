# shellcheck shell=bash disable=SC2154
# The stock policy on real pools over SSH: pull and push, what a lost or wrong other end means.

setup() {
  pool src 300
  pool dst 300
  sshd_start
}

two_generations() { # NAME, options: backs up twice, with something new, and compares
  local name=$1
  forest "$name" 3
  backup "$@" --now 20260101000000
  write_file "$src/$name/d2" 200 second
  backup "$@" --now 20260102000000
  assert_eq "$(snapshots "$dst/$name/$src/$name/d2" | wc -l)" 2
  for ds in "$name" "$name/d2" "$name/d3"; do
    same_guids "$src/$ds" "$dst/$name/$src/$ds"
    known_guids "$src/$ds" "$dst/$name/$src/$ds"
  done
  assert_eq "$(holds "$dst/$name/$src/$name/d2@$name-20260102000000")" "zfs_autobackup:$name"
  assert_match "$(holds "$src/$name/d2@$name-20260102000000")" "^zfs_autobackup:$name:[0-9a-f]+\$"
}

test_a_pull_gives_two_generations() { two_generations pull --ssh-source far; }
test_a_push_gives_two_generations() { two_generations push --ssh-target far; }
test_both_ends_may_be_remote() { two_generations both --ssh-source far --ssh-target far; }
test_the_ssh_program_can_be_the_transport_of_a_pull() { two_generations prog --ssh-source far --ssh-program ssh; }
test_the_ssh_program_can_be_the_transport_of_a_push() { two_generations progp --ssh-target far --ssh-program ssh; }

test_the_login_shells_of_the_far_side_may_be_csh_and_fish() {
  for shell in tcsh fish; do
    grep -q "^root_$shell:" /etc/passwd || echo "root_$shell:x:0:0::/root:$(command -v $shell)" >>/etc/passwd
    two_generations "by_$shell" --ssh-source "root_$shell@far"
  done
}

test_the_far_side_needs_nothing_but_sh_and_zfs() {
  mkdir few
  ln -s "$(command -v zfs)" "$(command -v zpool)" few/
  printf '#!/bin/sh\nPATH=%s\nexport PATH\nexec /bin/sh "$@"\n' "$PWD/few" >few.sh
  chmod 755 few.sh
  echo "root_few:x:0:0::/root:$PWD/few.sh" >>/etc/passwd
  two_generations few_pull --ssh-source root_few@far
  two_generations few_push --ssh-target root_few@far
}

test_every_address_of_a_name_is_tried() {
  # The server listens on 127.0.0.1 only, which comes second.
  printf '::1 dual\n127.0.0.1 dual\n' >>/etc/hosts
  assert_eq "$(getent ahosts dual | head -1 | cut -d ' ' -f 1)" ::1
  sed 's/^Host far/Host dual/; s/HostName .*/HostName dual/' "$ssh_config" >config
  sed 's/127\.0\.0\.1/dual/' "$TMP/file/known_hosts" >>"$TMP/file/known_hosts.dual"
  sed -i "s|UserKnownHostsFile .*|UserKnownHostsFile $TMP/file/known_hosts.dual|" config
  assert_eq "$(moonpool lua "$tests/zfs/run_there.lua" dual "$PWD/config" echo there)" there
}

test_one_session_a_connection_is_enough() {
  sshd_start one MaxSessions=1
  two_generations one --ssh-source one
}

test_a_transfer_that_is_cut_off_goes_on_in_the_same_run_when_asked() {
  forest again 1
  backup again --ssh-target far --now 20260101000000
  write_file "$src/again" 20000 big
  backup again --ssh-target far --retries 2 --rate 4M --now 20260102000000 >said 2>&1 &
  wait_for_receive "$dst/again/$src/again"
  pkill -P "$(cat "$TMP/file/sshd-far/pid")"
  wait $!
  assert_match "$(cat said)" 'trying again in'
  same_guids "$src/again" "$dst/again/$src/again"
}

test_a_killed_pull_is_resumed_and_its_far_send_ends() {
  forest pulled 1
  backup pulled --ssh-source far --now 20260101000000
  write_file "$src/pulled" 30000 big
  backup pulled --ssh-source far --now 20260102000000 --no-send
  moonpool autobackup --ssh-config "$ssh_config" --ssh-source far pulled "$dst/pulled" --no-snapshot --rate 4M --now 20260102000001 &
  pid=$!
  wait_for_receive "$dst/pulled/$src/pulled"
  kill -9 "$pid"
  wait "$pid" || :
  assert_match "$(holds "$src/pulled@pulled-20260101000000")" zfs_autobackup:pulled
  wait_until_idle "$dst/pulled/$src/pulled"
  tries=0
  while pgrep -f 'zfs send' >/dev/null; do
    [ $((tries += 1)) -lt 100 ] || fail 'a zfs send goes on'
    sleep 0.1
  done
  out=$(backup pulled --ssh-source far --no-snapshot --now 20260102000002 --verbose)
  assert_match "$out" "Resuming $src/pulled"
  same_guids "$src/pulled" "$dst/pulled/$src/pulled"
}

test_a_connection_that_is_cut_in_the_middle_fails_in_one_line_and_is_resumed() {
  forest cut 1
  backup cut --ssh-target far --now 20260101000000
  write_file "$src/cut" 30000 big
  backup cut --ssh-target far --now 20260102000000 --no-send
  run_in_background() { run backup cut --ssh-target far --no-snapshot --rate 4M --now 20260102000001; echo "$status $err" >"$T/ended"; }
  run_in_background &
  wait_for_receive "$dst/cut/$src/cut"
  pkill -P "$(cat "$TMP/file/sshd-far/pid")"
  wait $! || :
  assert_match "$(cat "$T/ended")" '^[1-9]'
  wait_until_idle "$dst/cut/$src/cut"
  backup cut --ssh-target far --no-snapshot --now 20260102000002
  same_guids "$src/cut" "$dst/cut/$src/cut"
}

test_a_c_program_with_moonpool_inside_lists_sends_and_asks_a_policy() {
  zfs create "$src/embed"
  write_file "$src/embed" 64 first
  zfs snapshot "$src/embed@a"
  # shellcheck disable=SC2046
  cc -std=c11 -D_POSIX_C_SOURCE=200809L -I"$checkout/src" -o embed "$tests/embed/embed.c" "$checkout/build/libmoonpool.a" \
    $(pkg-config --libs libssh libedit lua5.4) -pthread
  out=$(./embed far "$ssh_config" "of=$T/stream" "$src/embed@a")
  assert_contains "$out" "$src/embed"
  assert_contains "$out" autobackup
  zfs receive -u "$dst/embed" <"$T/stream"
  same_guids "$src/embed" "$dst/embed"
}

# one_line CMD…: must fail with one line on standard error, and 255
one_line() {
  refuses "$@"
  assert_eq "$status" 255
  assert_eq "$(printf '%s\n' "$err" | wc -l)" 1
}

test_what_is_wrong_with_the_other_end_is_said_in_one_line_and_nothing_is_changed() {
  forest wrong 1
  before=$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")
  one_line backup wrong --ssh-source no-such-host.invalid
  assert_contains "$err" no-such-host.invalid
  printf 'Host closed\n  HostName 127.0.0.1\n  Port 1\n' >>"$ssh_config"
  one_line backup wrong --ssh-source closed
  assert_match "$err" 'refused'
  ssh-keygen -q -t ed25519 -N '' -f "$T/other"
  sed "s|^Host far|Host wrongkey|; s|IdentityFile .*|IdentityFile $T/other|" "$ssh_config" >"$T/config"
  one_line moonpool autobackup --ssh-config "$T/config" --ssh-source wrongkey wrong "$dst/wrong"
  assert_match "$err" 'key'
  sed "s|UserKnownHostsFile .*|UserKnownHostsFile $T/empty|" "$ssh_config" >"$T/config"
  one_line moonpool autobackup --ssh-config "$T/config" --ssh-source far wrong "$dst/wrong"
  assert_match "$err" 'host key'
  assert_eq "$(zfs list -Hpr -t all -o name,guid,userrefs "$src" "$dst")" "$before"
}

test_no_zfs_on_the_far_side_is_said_in_one_line() {
  forest nozfs 1
  zfs=$(command -v zfs)
  mount --bind /dev/null "$zfs"
  run backup nozfs --ssh-source far
  umount "$zfs"
  assert_eq "$status" 255
  assert_eq "$(printf '%s\n' "$err" | wc -l)" 1
  assert_match "$err" 'far: zfs'
}
