#!/bin/sh
# The interactive loop: on a terminal of its own (script), and with a script on its standard input.
. "$(dirname "$0")/lib.sh"

# The loop on a terminal; what is written to the file "keys" is typed. Its screen is the file "screen".
terminal() {
  mkfifo keys
  # What a shell starts in the background ignores Ctrl-C; a shell that stayed between would end of it.
  TERM=xterm env --default-signal=INT script -qfec "exec moonpool repl $*" /dev/null <keys >screen 2>&1 &
  pid=$!
  exec 9>keys
  seen 'moonpool'
}
type_in() { printf '%b' "$1" >&9; }
# seen TEXT: waits until it is on the screen
seen() {
  i=0
  until grep -qF -- "$1" screen; do
    i=$((i + 1))
    [ $i -lt 200 ] || { echo "not seen: $1"; cat screen; kill "$pid"; return 1; }
    sleep 0.05
  done
}
leave() {
  type_in '\004'
  exec 9>&-
  wait "$pid"
}

transfer() {
  terminal --live
  type_in 'before = 17\n'
  type_in 'h = host()\n'
  type_in 'h:pipe { { host = h, argv = { "sh", "-c", "echo $$ >sending; exec cat /dev/zero" } }, { host = h, argv = { "sh", "-c", "exec cat >/dev/null" } } }\n'
  i=0
  until [ -s sending ]; do
    i=$((i + 1))
    [ $i -lt 200 ]
    sleep 0.05
  done
  sleep 0.3
  type_in '\003'
  seen cancelled
  not kill -0 "$(cat sending)"
  type_in 'print("still " .. before + 1)\n'
  seen 'still 18'
  leave
}
it 'Ctrl-C stops a running transfer and leaves the prompt, with what was defined' transfer

loops() {
  terminal
  type_in 'print("go" .. "ing"); while true do end\n'
  seen going
  type_in '\003'
  seen interrupted
  type_in '"al" .. "ive"\n'
  seen '"alive"'
  leave
}
it 'Ctrl-C stops Lua that never ends' loops

tabs() {
  terminal
  type_in 'string.for\t("%dx", 41 + 1)\n'
  seen '"42x"'
  type_in 'x = host.r\t'
  seen 'resume_token'
  type_in '\003'
  sleep 0.2
  leave
}
it 'Tab completes a name, and shows the choice where there is one' tabs

history_is_kept() {
  terminal
  type_in 'print("remem" .. "bered")\n'
  seen remembered
  leave
  rm keys
  terminal
  type_in '\033[A\n'
  seen remembered
  leave
  grep -q 'remem' "$HOME/.local/state/moonpool/history"
}
it 'lines are remembered from one time to the next' history_is_kept

several_lines() {
  terminal
  type_in 'for i = 1, 2 do\nprint("line " .. i * 21)\nend\n'
  seen 'line 21'
  seen 'line 42'
  leave
}
it 'a statement may have several lines' several_lines

piped() {
  printf 'x = 20\nerror "oh"\nfor i = 1, 1 do\nx = x + i\nend\nx\n' >script
  status=0
  moonpool repl <script >out 2>err || status=$?
  same "$status" 1
  same "$(cat out)" 21
  same "$(cat err)" 'repl:2: oh'
}
it 'a script on the standard input is run, and an error keeps what was defined' piped

finish
