#!/bin/sh
# Policies that are not found, not readable, not trusted or not right: one line that says what and where, and nothing is done.
. "$(dirname "$0")/lib.sh"

program zfs <<'END'
echo "$*" >>"$ZFS_LOG"
exit 1
END
export ZFS_LOG="$scratch/zfs.log"
nothing_ran() { ! [ -s "$ZFS_LOG" ] || { cat "$ZFS_LOG"; return 1; }; }

missing() {
  refused 255 "no policy 'autobakcup', did you mean 'autobackup'?" moonpool run autobakcup
  refused 255 './nas.lua: No such file' moonpool run ./nas.lua
}
it 'a policy that is not there is told with the one that was meant' missing

unreadable() {
  mkdir dir.lua
  refused 255 ./dir.lua moonpool run ./dir.lua
  [ "$(id -u)" = 0 ] && return 0
  echo 'return 1' >nas.lua
  chmod 000 nas.lua
  refused 255 './nas.lua: Permission denied' moonpool run ./nas.lua
}
it 'a policy that cannot be read is told with its path' unreadable

syntax() {
  printf 'local x = 1\nlocal = 2\n' >nas.lua
  refused 255 "./nas.lua:2: " moonpool run ./nas.lua
  nothing_ran
}
it 'a syntax error is told with file and line' syntax

raising() {
  printf '\n\nerror "broken"\n' >nas.lua
  refused 255 "./nas.lua:3: broken" moonpool run ./nas.lua
}
it 'an error of a policy that is loaded is told with file and line' raising

misspelt() {
  echo 'return require "policies.autobackup":extend { name = "nas", kep = function() end }' >nas.lua
  refused 255 "no hook 'kep', did you mean 'keep'?" moonpool run ./nas.lua
  printf '\nreturn requir "policies.autobackup"\n' >nas.lua
  refused 255 "./nas.lua:2: no global 'requir', did you mean 'require'?" moonpool run ./nas.lua
  nothing_ran
}
it 'a misspelt hook or global is told with the one that was meant' misspelt

no_policy() {
  echo 'return 5' >nas.lua
  refused 255 './nas.lua: returns number, not a policy' moonpool run ./nas.lua
  printf '\033LuaS' >nas.lua
  refused 255 'compiled' moonpool run ./nas.lua
}
it 'a file that is no policy is told' no_policy

shadow() {
  mkdir -p shadow/policies
  printf 'return (' >shadow/policies/retention.lua
  refused 255 'shadow/policies/retention.lua:1: ' moonpool -P "$PWD/shadow" autobackup nas back
  MOONPOOL_PATH=$PWD/shadow refused 255 'shadow/policies/retention.lua:1: ' moonpool autobackup nas back
  nothing_ran
}
it 'a broken file before a stock one is an error, not passed over' shadow

current_directory() {
  mkdir -p policies moonpool lua/moonpool
  for f in autobackup.lua policies/autobackup.lua policies/retention.lua moonpool/plan.lua lua/moonpool/plan.lua argparse.lua; do
    echo "error 'the current directory was searched: $f'" >$f
  done
  run moonpool autobackup --help
  same "$status" 0
  LUA_PATH="./?.lua" LUA_INIT='error "ran"' run moonpool autobackup --help
  same "$status" 0
}
it 'the current directory is not searched, nor what LUA_PATH says' current_directory

trust() {
  [ "$(id -u)" = 0 ] || return 0
  echo 'return 5' >nas.lua
  chmod 666 nas.lua
  refused 255 'others than root can write' moonpool run ./nas.lua
  chmod 644 nas.lua
  chown 12345 nas.lua
  refused 255 'others than root can write' moonpool run ./nas.lua
}
it 'root does not run what others can write' trust

list_and_show() {
  mkdir own
  printf 'return require "policies.autobackup":extend { name = "nas", summary = "My own" }\n' >own/nas.lua
  run moonpool -P "$PWD/own" policy list
  same "$status $err" '0 '
  has "$out" 'My own'
  has "$out" "$PWD/own/nas.lua"
  has "$out" autobackup
  run moonpool -P "$PWD/own" policy show nas
  same "$out" "$(cat own/nas.lua)"
  run moonpool policy show autobackup
  same "$out" "$(cat "$top/policies/autobackup.lua")"
}
it 'policies are listed with their summary and place, and shown as they are' list_and_show

finish
