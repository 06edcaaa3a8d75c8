#!/bin/sh
# Signals: the first one lets go of everything, the second one ends the process.
. "$(dirname "$0")/lib.sh"

# Starts a script and waits until its file "ready" is there. A shell has SIGINT ignored in what it starts in the background.
start() {
  env --default-signal=INT moonpool lua s.lua >out 2>err &
  pid=$!
  i=0
  while ! [ -s ready ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i + 1)); done
  [ -s ready ]
}
ended() {
  status=0
  wait "$pid" || status=$?
  cat out err
}

waiting() {
  cat >s.lua <<'END'
local mp = require "moonpool"
local held <close> = setmetatable({}, { __close = function() io.open("released", "w"):close() end })
mp.host():run { "sh", "-c", "echo $$ >ready; exec sleep 60" }
return held and 1
END
}

first() {
  for signal in INT TERM HUP; do
    rm -f ready released
    waiting
    start
    kill -s $signal "$pid"
    ended
    same "$status" 255
    same "$(wc -l <err | tr -d ' ')" 1
    has "$(cat err)" cancelled
    [ -e released ]
    not kill -0 "$(cat ready)"
  done
}
it 'one signal ends the command at work, and what is held is let go' first

ignored() {
  waiting
  trap '' HUP
  start
  kill -s HUP "$pid"
  sleep 0.3
  kill -0 "$pid"
  not [ -e released ]
  kill -s TERM "$pid"
  ended
  same "$status" 255
}
it 'a signal that was ignored from the start, as by nohup, stays ignored' ignored

second() {
  echo 'io.open("ready", "w"):write("1"):close(); while true do end' >s.lua
  start
  kill -s TERM "$pid"
  kill -0 "$pid"
  sleep 0.2
  kill -s TERM "$pid"
  ended
  same "$status" 143
}
it 'a second signal ends the process as if it were not caught' second

hangup() {
  waiting
  sed -i 's/__close = function()/__close = function() os.remove "ready"; local t = os.time(); while os.time() < t + 2 do end/' s.lua
  start
  kill -s HUP "$pid"
  while [ -e ready ]; do sleep 0.05; done
  kill -s HUP "$pid"
  ended
  same "$status" 255
  [ -e released ]
}
it 'the end of a terminal, which says so twice, leaves the time to let go' hangup

children() {
  echo 'print(require("moonpool").host():run({ "echo", "seen" }).out)' >s.lua
  run env --ignore-signal=CHLD moonpool lua s.lua
  same "$status $out" '0 seen'
}
it 'whoever ignores the end of programs does not keep us from it' children

finish
