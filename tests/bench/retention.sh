# shellcheck shell=bash
# 100,000 snapshots of one dataset: what retention alone takes, and a whole dry run.
export DATASETS=1 SNAPSHOTS=100000 NOW=8650000000
export HOME=$work PATH=$out/bin:$PATH
for round in $(seq "${BENCH_ROUNDS:-3}"); do
  keep rule "$("$moonpool" lua "$bench/retention.lua")"
  read -r seconds _ < <("$tool" pipe "$moonpool" autobackup --test --utc --now "$NOW" --keep-source 10,1d1w,1w1m,1m1y bench | tail -n 1)
  keep run "$seconds"
done
target 'retention: seconds for 100,000 snapshots by 10,1d1w,1w1m,1m1y' '<=' 1 "$(median_of rule)"
tell 'retention: seconds of the whole dry run that would destroy 99,974' "$(median_of run)"
