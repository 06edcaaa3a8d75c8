# shellcheck shell=bash
# Whole runs on real pools in the test bed, pulled through SSH: moonpool, syncoid (of Debian's package sanoid, unpacked and not installed), and a
# loop of zfs send | zfs receive as one writes it by hand. What runs there is tests/bench/whole_there.
count=${BENCH_WHOLE_DATASETS:-11}
programs=${BENCH_WHOLE_PROGRAMS:-moonpool two_jobs syncoid loop}
packages=$out/sanoid
if [ ! -e "$packages/usr/sbin/syncoid" ]; then
  rm -rf "$packages.new"
  mkdir -p "$packages.new/debs"
  (cd "$packages.new/debs" && apt-get -q download sanoid libconfig-inifiles-perl libcapture-tiny-perl >"$packages.log" 2>&1)
  for deb in "$packages.new"/debs/*.deb; do dpkg-deb -x "$deb" "$packages.new"; done
  rm -rf "$packages"
  mv "$packages.new" "$packages"
fi
make -s -C "$checkout" all
"$checkout/tests/bed/bed" run -- "$bench/whole_there" "$count" "$packages" >"$work/whole" || { cat "$work/whole"; exit 1; }

# of TOOL PHASE FIELD: 3 processes and threads, 4 seconds, 5 CPU seconds of the whole machine
of() { awk -v t="$1" -v p="$2" -v f="$3" '$1 == t && $2 == p { print $f }' "$work/whole"; }
target "whole: processes and threads with nothing new, $count datasets" '<=' 20 "$(of moonpool nothing 3)"
target 'whole: nothing new, times as fast as syncoid' '>=' 15 "$(calc "$(of syncoid nothing 4) / $(of moonpool nothing 4)")"
target 'whole: processes and threads a dataset of a first backup' '<=' 5 "$(calc "$(of moonpool first 3) / $count")"
target 'whole: first backup, times as fast as syncoid' '>=' 5 "$(calc "$(of syncoid first 4) / $(of moonpool first 4)")"
for phase in first incremental nothing; do
  for program in $programs; do
    tell "whole: $phase, $program: processes, seconds, CPU seconds" "$(of $program $phase 3), $(of $program $phase 4), $(of $program $phase 5)"
  done
done
