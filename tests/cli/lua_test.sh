#!/bin/sh
# Scripts, and the interactive loop without a terminal and with one.
. "$(dirname "$0")/lib.sh"

script() {
  echo 'local a, b = ...; print(a .. "-" .. b, require("moonpool").version)' >s.lua
  run moonpool lua s.lua x 'y z'
  same "$status $err" '0 '
  has "$out" 'x-y z'
}
it 'a script gets its arguments, and moonpool' script

status_of() {
  echo 'return 7' >s.lua
  run moonpool lua s.lua
  same "$status" 7
}
it 'what a script returns is the exit status' status_of

failing() {
  printf '\nlocal x = nil + 1\n' >s.lua
  refused 255 's.lua:2: ' moonpool lua s.lua
  echo 'require "moonpool".host():run { "sh", "-c", "echo what happened >&2; exit 3" }' >s.lua
  refused 255 'what happened' moonpool lua s.lua
}
it 'an error of a script is one line' failing

unsafe() {
  for call in 'os.execute "touch was_here"' 'io.popen "touch was_here"' 'os.exit(0)'; do
    echo "$call" >s.lua
    refused 255 'not available' moonpool lua s.lua
  done
  not [ -e was_here ]
}
it 'a script cannot walk around the dry run' unsafe

piped() {
  status=0
  out=$(printf '1 + 1\nx = 5\nx\n' | moonpool repl 2>err) || status=$?
  same "$out" '2
5'
  same "$status$(cat err)" 0
  status=0
  printf 'boom\n' | moonpool repl >out 2>err || status=$?
  same "$status $(cat out) $(wc -l <err)" '1  1'
}
it 'lines from a pipe are run without a prompt, and a failure shows in the status' piped

# Only where it helps, which is glibc before 2.40 on a processor of AMD, and never against what a user has set.
tunables() {
  cat >script.lua <<'END'
local file <close> = assert(io.open "/proc/self/environ")
print(file:read("a"):match "GLIBC_TUNABLES=(%Z*)" or "none", os.getenv "GLIBC_TUNABLES" or "none")
END
  expected=none
  if [ "$(uname -m)" = x86_64 ] && grep -q AuthenticAMD /proc/cpuinfo && getconf GNU_LIBC_VERSION | grep -qE '^glibc 2\.([12]?[0-9]|3[0-9])$'; then
    expected=glibc.cpu.x86_rep_movsb_threshold=1000000000
  fi
  tab=$(printf '\t')
  same "$(env -u GLIBC_TUNABLES "$(command -v moonpool)" lua script.lua)" "$expected${tab}none"
  same "$(GLIBC_TUNABLES=glibc.malloc.tcache_count=7 moonpool lua script.lua)" "glibc.malloc.tcache_count=7${tab}glibc.malloc.tcache_count=7"
}
it 'the program tells glibc how to copy, and the programs that it starts nothing' tunables

# As bash does it: the words, the one that is being typed, and the function that answers.
completion() {
  moonpool completion bash >completion
  answer() { bash -c '. ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moonpool; echo "${COMPREPLY[*]}"' - "$@"; }
  same "$(answer moonpool simu)" simulate
  same "$(answer moonpool autobackup --keep-)" '--keep-source --keep-target'
  same "$(answer moonpool run restore --fr)" --from
  same "$(answer moonpool autobackup --on-diverged f)" 'fail full'
  moonpool completion zsh >completion.zsh
  has "$(cat completion.zsh)" keep-source
  moonpool completion fish >completion.fish
  fish --no-execute completion.fish
  refused 253 "did you mean 'fish'" moonpool completion fihs
}
it 'shells complete commands, policies, options and choices' completion

terminal() {
  out=$({ sleep 0.5; printf '40 + 2\r'; sleep 0.5; printf 'string.for\t("<%%s>", 1)\r'; sleep 0.5; printf '\004'; sleep 0.5; } |
    timeout 20 script -qec 'TERM=xterm moonpool repl' /dev/null)
  echo "$out"
  has "$out" 'moonpool(dry)> '
  has "$out" '42'
  has "$out" '"<1>"'
  has "$(cat "$HOME/.local/state/moonpool/history")" '40'
}
it 'on a terminal there are a prompt, completion and a history' terminal

finish
