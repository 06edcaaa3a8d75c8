# shellcheck shell=bash
# Commands on one host, one after the other: moonpool's persistent shell against ssh with ControlMaster.
rounds=${BENCH_ROUNDS:-5}
sshd_start
printf '%s\n' 'ControlMaster auto' "ControlPath $work/control" 'ControlPersist 60' | cat "$ssh_config" - >"$work/master"
ssh -F "$work/master" far true
later "ssh -F '$work/master' -O exit far 2>/dev/null || :"
for round in $(seq "$rounds"); do
  keep moonpool "$("$moonpool" lua "$bench/commands.lua" "$ssh_config" 300)"
  keep ssh "$(calc "$("$tool" each 50 ssh -F "$work/master" far true) / 50 * 1000")"
done
target 'commands: ms of one over the round trip, on loopback' '<=' 3 "$(median_of moonpool)"
tell 'commands: ms of one by ssh with ControlMaster' "$(median_of ssh)"
tell 'commands: how many times as many a second as ssh with ControlMaster' "$(ratios ssh moonpool)"
