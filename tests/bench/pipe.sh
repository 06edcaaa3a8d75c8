# shellcheck shell=bash
# The pipe between two programs of this machine, counted and buffered by moonpool, against what a shell would make.
size=${BENCH_PIPE_BYTES:-3000000000}
rounds=${BENCH_ROUNDS:-7}
ends=("$tool" produce "$size")

for round in $(seq "$rounds"); do
  keep plain "$("$tool" pipe "${ends[@]}" -- "$tool" consume | cut -d ' ' -f 1)"
  read -r seconds cpu < <("$moonpool" lua "$bench/pipe.lua" - local "${ends[@]}" -- local "$tool" consume)
  keep moonpool "$seconds"
  keep moonpool_cpu "$cpu"
  keep wide "$("$tool" pipe -s 1048576 "${ends[@]}" -- "$tool" consume | cut -d ' ' -f 1)"
  read -r seconds _ _ cpu _ < <("$tool" pipe "${ends[@]}" -- mbuffer -q -m 64M -- "$tool" consume)
  keep mbuffer "$seconds"
  keep mbuffer_cpu "$cpu"
  keep cat "$("$tool" pipe "${ends[@]}" -- cat -- "$tool" consume | cut -d ' ' -f 1)"
done
target 'pipe: speed of the metered pipe, to a plain shell pipe' '>=' 3 "$(ratios plain moonpool)"
target 'pipe: to one with F_SETPIPE_SZ of 1 MB' '>=' 0.9 "$(ratios wide moonpool)"
target 'pipe: to mbuffer' '>=' 1 "$(ratios mbuffer moonpool)"
target "pipe: CPU, to mbuffer's" '<=' 1 "$(ratios moonpool_cpu mbuffer_cpu)"
tell 'pipe: to a shell pipe with cat in it' "$(ratios cat moonpool)"
tell 'pipe: MB/s of the plain shell pipe' "$(calc "$size / 1e6 / $(median_of plain)")"
tell 'pipe: MB/s of the metered pipe' "$(calc "$size / 1e6 / $(median_of moonpool)")"
