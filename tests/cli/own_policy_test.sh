#!/bin/sh
# A policy of one's own: new, edit, diff, check, doc, simulate, test. No pool is touched.
. "$(dirname "$0")/lib.sh"

own=$HOME/.config/moonpool

new() {
  run moonpool policy new nas
  same "$status $out" "0 $own/nas.lua"
  run moonpool policy check nas
  same "$status $out" '0 nas: is right, as far as can be seen without a pool'
  cp "$own/nas.lua" was
  refused 255 'is there already' moonpool policy new nas
  cmp was "$own/nas.lua"
  run moonpool policy new ./here.lua
  same "$status" 0
  [ -s here.lua ]
  refused 253 "'Bad Name'" moonpool policy new 'Bad Name'
  run moonpool run nas --help
  same "$status" 0
}
it 'a new policy is a commented file that is right, and never replaces one' new

edit() {
  run moonpool policy edit retention
  same "$status $out" "0 $own/policies/retention.lua"
  run moonpool policy diff retention
  has "$out" 'no difference'
  sed -i 's/^local retention = {}/local retention = { mine = 1 }/' "$own/policies/retention.lua"
  run moonpool policy diff retention
  has "$out" '- local retention = {}'
  has "$out" '+ local retention = { mine = 1 }'
  not grep -q 'has changed' "$scratch/err"
  # As if the copy had been made of an older one.
  sed -i '1s/fingerprint [0-9a-f]*/fingerprint 0/' "$own/policies/retention.lua"
  run moonpool policy diff retention
  has "$err" 'has changed since'
  run moonpool policy edit retention
  grep -q 'mine = 1' "$own/policies/retention.lua"
  refused 255 "no stock policy 'nothing'" moonpool policy edit nothing
  refused 255 'no copy of' moonpool policy diff autobackup
  rm "$own/policies/retention.lua"
}
it 'a stock file is copied to be edited, and what is different is shown' edit

# complaint PATTERN TEXT: what `policy check` says of a policy with that text
complaint() {
  printf '%s\n' "$2" >bad.lua
  run moonpool policy check ./bad.lua
  [ "$status" != 0 ]
  has "$out$err" "$1"
}
check() {
  complaint "no hook 'kep', did you mean 'keep'?" 'return require "policies.autobackup":extend { name = "bad", kep = function() end }'
  complaint "no option 'keep_sorce'" 'return require "policies.autobackup":extend { name = "bad", options = { keep_sorce = "1" } }'
  complaint 'keep' 'return require "policies.autobackup":extend { name = "bad", keep = 5 }'
  complaint 'bad.lua:1' 'return require "policies.autobackup":extend { name = "bad", keep = function() error "oh" end }'
  complaint "returned 'all', not table" 'return require "policies.autobackup":extend { name = "bad", keep = function() return "all" end }'
  complaint 'instructions' 'return require "policies.autobackup":extend { name = "bad", keep = function() while true do end end }'
  complaint "keep-source" 'return require "policies.autobackup":extend { name = "bad", options = { keep_source = "oh" } }'
  complaint "option 'shade'" 'return require "policies.autobackup":extend { name = "bad",
    options = { { name = "shade", type = "integer", default = 5, help = "Never looked at." } } }'
  for stock in autobackup snapshot prune replicate fleet monitor restore verify; do
    run moonpool policy check $stock
    same "$status $err" '0 '
  done
}
it 'check tells unknown hooks and options, wrong types, what raises, what never ends, options that are not used' check

doc() {
  run moonpool policy doc autobackup
  same "$status" 0
  has "$out" 'Hooks: '
  has "$out" '--keep-source'
  has "$out" "$(sed -n '1s/^--- //p' "$top/policies/autobackup.lua")"
}
it 'doc tells what a policy is for, its hooks and options' doc

picture() {
  run moonpool simulate autobackup --keep-target 24,1d2w,1w2m --for 90d --now 1780000000 --svg kept.svg
  same "$status $err" '0 '
  has "$out" 'source  kept'
  has "$out" 'target  kept'
  has "$out" 'largest gap'
  has "$out" '2160 runs, 10 datasets'
  grep -q '^<svg' kept.svg
  refused 253 '--for' moonpool simulate autobackup --every 2d --for 1d
  refused 253 'which policy' moonpool simulate
  echo 'return require "policies.autobackup":extend { name = "nas", keep = function() error "oh" end }' >nas.lua
  run moonpool simulate ./nas.lua --for 2d
  same "$status" 1
  has "$out" './nas.lua:1: oh'
}
it 'simulate draws what is kept, and tells what a policy fails with' picture

tests_of_a_policy() {
  cat >nas.lua <<'END'
local retention = require "policies.retention"
return require "policies.autobackup":extend { name = "nas", keep = function(_, snapshots, ctx) return retention.last(3)(snapshots, ctx) end }
END
  cat >nas_test.lua <<'END'
local t = require "moonpool.testing"
local nas = require "nas"
t.test("keeps three", function()
  local world = t.world()
  t.days(world, 10, nas)
  t.same(3, #t.snapshots(world, "dst", "back/nas/tank/a"))
end)
t.test("tells of a target that is full", function()
  local world = t.world()
  world:fail { host = "dst", verb = "receive", message = "out of space" }
  local status, lines = t.backup(world, nil, nas)
  t.ok(status > 0, "a failure")
  t.matches("out of space", lines)
end)
END
  run moonpool test nas_test.lua
  cat "$scratch/out"
  same "$status $err" '0 '
  has "$out" 'ok      keeps three'
  has "$out" '2 passed, 0 failed'
  sed 's/t.same(3/t.same(4/' nas_test.lua >other_test.lua
  run moonpool test nas_test.lua other_test.lua
  same "$status" 1
  has "$out" 'FAILED  keeps three'
  has "$out" 'expected 4, got 3'
  has "$out" '3 passed, 1 failed'
  refused 253 'which files' moonpool test
  refused 255 'no_test.lua' moonpool test ./no_test.lua
}
it 'tests of a policy run on simulated machines with faults, and say what is wrong' tests_of_a_policy

explain() {
  refused 253 'explain: ' moonpool explain
  refused 253 'explain: ' moonpool explain nas --verbose
  refused 255 './none.lua' moonpool explain ./none.lua tank/a
  # A word that is a policy's name is that policy, not the name of a backup.
  mkdir -p "$own"
  echo 'return require "policies.autobackup":extend { name = "vault", options = { backup_name = "v", keep_source = "oh" } }' >"$own/vault.lua"
  refused 253 '--keep-source' moonpool explain vault tank/a
}
it 'explain wants to be told what' explain

finish
