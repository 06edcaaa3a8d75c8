# shellcheck shell=bash
# Planning over many snapshots: a dry run of `autobackup` in which nothing is new, with a `zfs` that only prints (tests/bench/zfs.c), against reading
# the same listings with cat.
export DATASETS=${BENCH_DATASETS:-10000} SNAPSHOTS=100 NOW=1780000000
export HOME=$work PATH=$out/bin:$PATH
rounds=${BENCH_ROUNDS:-1}
plan=("$moonpool" autobackup --test --utc --now "$NOW" --keep-source 30,1d4m --keep-target 30,1d4m bench back/t)
columns=name,guid,createtxg,creation,userrefs
each() { seq -f "$1d%05g" "$DATASETS"; }

each tank/ | xargs zfs list -Hp -t snapshot,bookmark -o $columns >"$work/source"
each back/t/tank/ | xargs zfs list -Hp -t snapshot,bookmark -o $columns >"$work/target"
for round in $(seq "$rounds"); do
  keep cat "$("$tool" pipe cat "$work/source" "$work/target" -- "$tool" consume | cut -d ' ' -f 1)"
  read -r seconds _ memory < <("$tool" pipe "${plan[@]}" | tail -n 1)
  keep planned "$(calc "$seconds - $(median_of cat)")"
  keep memory "$(calc "$memory / 1024")"
done
target "listing: seconds of planning beyond cat, 2 x $((DATASETS / 1000))k datasets x 100" '<=' 3 "$(median_of planned)"
target 'listing: MB of memory in all, for a million snapshots on both sides' '<=' 150 "$(median_of memory)"
tell 'listing: MB of the listings' "$(cat "$work/source" "$work/target" | wc -c | awk '{ print $1 / 1e6 }')"
