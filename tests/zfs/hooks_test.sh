# shellcheck shell=bash disable=SC2154
# A policy of a user's own with every hook drives a pull over SSH, and each hook is seen to act.

setup() {
  pool src 250
  pool dst 250
  sshd_start
}

policy() {
  cat >"$T/mine.lua" <<END
local retention = require "policies.retention"
return require "policies.autobackup":extend {
  name = "mine",
  options = { backup_name = "hooks", target_path = "$dst/hooks", ssh_source = "far", ssh_config = "$ssh_config", rollback = false },
$1
}
END
  chmod 600 "$T/mine.lua"
}

test_every_hook_acts_on_a_pull_over_ssh() {
  for ds in hooks hooks/a hooks/b hooks/scratch; do zfs create "$src/$ds"; done
  zfs set compression=gzip org:colour=blue "$src/hooks/a"
  zfs set autobackup:hooks=true "$src/hooks"
  write_file "$src/hooks/a" 100 first
  policy "
  select = function(self, ds, ctx)
    if ds.name:find 'scratch' then return false, 'scratch' end
    if ctx.type == 'volume' then return false, 'volumes are backed up elsewhere' end
  end,
  order = function(_, datasets)
    table.sort(datasets, function(a, b) return a.name > b.name end)
    return datasets
  end,
  snapshot_name = function(_, ctx) return ctx.names:name(ctx.now, 'mine') end,
  target_name = function(self, ds) return '$dst/hooks/' .. ds.name:match '[^/]*\$' end,
  keep = function(self, snapshots, ctx)
    assert(ctx.pool.size > ctx.pool.free and ctx.destinations[1].exists)
    assert(ctx.properties.type == 'filesystem' and snapshots[1].referenced > 0)
    return retention.last(ctx.side == 'source' and 1 or 2)(snapshots, ctx)
  end,
  filter_property = function(_, _, name, value)
    if name == 'compression' then return false end
    if name == 'org:colour' then return value .. 'ish' end
  end,
  send_options = function(_, ds) return { compressed = false, large_blocks = ds.name:find '/a\$' == nil } end,
  base = function(_, _, candidates) return candidates[#candidates] end,
  on_diverged = function(_, _, state) return state.base and 'destroy' or 'fail' end,
  before = function(run) assert(run) print 'BEFORE' end,
  after = function(_, run, err) print(('AFTER %d %s'):format(#run.pairs, tostring(err))) end,
  before_dataset = function(_, ds) print('SENDING ' .. ds.name) end,
  after_dataset = function(_, ds, _, err) print('SENT ' .. ds.name .. ' ' .. tostring(err)) end,"
  moonpool run "$T/mine.lua" --debug --now 20260101000000 >out 2>&1 || { cat out; fail "exit status $?"; }
  grep -q "^Ignoring: $src/hooks/scratch (scratch)" out
  assert_missing "$dst/hooks/scratch"
  assert_eq "$(grep ^SENDING out)" "SENDING $src/hooks/b"$'\n'"SENDING $src/hooks/a"$'\n'"SENDING $src/hooks"
  assert_eq "$(grep ^SENT out | wc -l)" 3
  assert_eq "$(grep -c '^BEFORE\|^AFTER 3 nil' out)" 2
  assert_eq "$(snapshots "$dst/hooks/a")" "$dst/hooks/a@hooks-20260101000000_mine"
  assert_eq "$(zfs get -Ho source compression "$dst/hooks/a")" default
  assert_eq "$(property "$dst/hooks/a" org:colour)" blueish
  # -L -e of a, which has no large blocks asked for, and of b.
  grep "zfs send.*$src/hooks/a@" out | grep -q 'zfs send -[a-z]*L' && fail 'large blocks were not asked for'
  grep "zfs send.*$src/hooks/b@" out | grep -q L

  # A second and a third generation: the source keeps one, the target two.
  for day in 2 3; do
    write_file "$src/hooks/a" 100 "day$day"
    moonpool run "$T/mine.lua" --now "2026010${day}000000"
  done
  assert_eq "$(snapshots "$src/hooks/a" | sed 's/.*@//')" hooks-20260103000000_mine
  assert_eq "$(count "$dst/hooks/a")" 2
  same_guids "$src/hooks/a" "$dst/hooks/a"

  # The target goes on by itself; the hook gives that up.
  zfs snapshot "$dst/hooks/a@by-hand"
  write_file "$src/hooks/a" 100 day4
  moonpool run "$T/mine.lua" --now 20260104000000
  assert_missing "$dst/hooks/a@by-hand"
  same_guids "$src/hooks/a" "$dst/hooks/a"
}

test_a_hook_that_loops_raises_or_talks_nonsense_loses_nothing() {
  zfs create "$src/bad"
  zfs set autobackup:bad=true "$src/bad"
  write_file "$src/bad" 64 first
  backup bad --now 20250101000000
  write_file "$src/bad" 64 second
  backup bad --now 20250601000000 --no-thinning
  for keep in 'while true do end' 'error "oh"' 'return { [1] = true }'; do
    policy "keep = function(_, snapshots, ctx) $keep end,"
    refuses moonpool run "$T/mine.lua" bad "$dst/bad" --ssh-source local --now 20260601000000 --keep-source 1 --keep-target 1
    assert_contains "$err" "hook 'keep'"
    assert_contains "$err" mine.lua:
    assert_eq "$(count "$src/bad")" 2
    assert_eq "$(count "$(target bad)")" 2
  done
  # One that destroys everything it can leaves what both sides have.
  policy "keep = function() return {} end,"
  moonpool run "$T/mine.lua" bad "$dst/bad" --ssh-source local --now 20260601000000
  assert_eq "$(snapshots "$src/bad" | sed 's/.*@//')" bad-20250601000000
  assert_eq "$(snapshots "$(target bad)" | sed 's/.*@//')" bad-20250601000000
}
