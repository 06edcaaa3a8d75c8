#!/bin/sh
# What the program says of its own usage, and with which exit status.
. "$(dirname "$0")/lib.sh"

version() {
  run moonpool --version
  same "$status" 0
  same "$out" "moonpool $(sed -n 's/^#define MP_VERSION "\(.*\)"/\1/p' "$top/src/moonpool.h")"
}
it 'the version is that of the header' version

help() {
  for words in --help -h help; do
    run moonpool $words
    same "$status $err" '0 '
    has "$out" 'Usage: moonpool'
  done
}
it 'help is printed on the standard output' help

no_command() {
  run moonpool
  same "$status" 253
  has "$out" 'Usage: moonpool'
}
it 'without a command there is help, and the status of wrong usage' no_command

unknown_command() { refused 253 "no command 'autobakup', did you mean 'autobackup'?" moonpool autobakup; }
it 'an unknown command is told with the one that was meant' unknown_command

unknown_option() {
  refused 253 "--frob" moonpool --frob
  refused 253 "--keep-sorce" moonpool autobackup --keep-sorce 1 nas back
  has "$err" 'keep-source'
  refused 253 "--frob" moonpool repl --frob
}
it 'an unknown option is told with the one that was meant' unknown_option

bad_value() {
  refused 253 "'often' is not a number" moonpool autobackup --keep-source often nas back
  refused 253 '--jobs' moonpool autobackup --jobs many nas back
}
it 'a value that an option cannot have is told' bad_value

missing() {
  refused 253 '' moonpool autobackup
  refused 253 'which policy' moonpool run
  refused 253 'which file' moonpool lua
  refused 253 'which directory' moonpool -P
  refused 253 'policy' moonpool policy
}
it 'an argument that is missing is told' missing

policy_help() {
  run moonpool autobackup --help
  same "$status $err" '0 '
  for option in --ssh-source --ssh-target --keep-source --test --ssh-config; do has "$out" "$option"; done
}
it 'the help of a policy has its options' policy_help

other_name() {
  ln -s "$(command -v moonpool)" zfs-autobackup
  run ./zfs-autobackup --help
  same "$status" 0
  has "$out" --ssh-source
}
it 'called zfs-autobackup it is that program' other_name

unwritable() { not sh -c 'moonpool --version >/dev/full'; }
it 'a version that could not be written is a failure' unwritable

by_the_loader() {
  loader=$(ldd "$(command -v moonpool)" | sed -n 's/^[[:space:]]*\(\/[^ ]*\/ld-[^ ]*\) .*/\1/p')
  [ -x "$loader" ]
  echo >s.lua
  run "$loader" "$(command -v moonpool)" lua s.lua a b
  same "$status $err" '0 '
}
it 'a start through the loader does not start the loader alone' by_the_loader

finish
