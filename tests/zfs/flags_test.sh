# shellcheck shell=bash disable=SC2154
# Options of the stock policy that say how: names, what is left out, flags of send and receive, limits.

setup() {
  pool src 200
  pool dst 200
  sshd_start
}

test_formats_of_property_snapshot_and_hold_and_the_zone() {
  zfs create "$src/fmt"
  zfs set bk:fmt=true "$src/fmt"
  TZ=America/New_York backup fmt --property-format 'bk:{}' --snapshot-format '{}_%Y-%m-%d_%H.%M.%S' --hold-format 'mp-{}' --utc --now 1767225600
  assert_eq "$(snapshots "$src/fmt")" "$src/fmt@fmt_2026-01-01_00.00.00"
  assert_eq "$(holds "$(target fmt)@fmt_2026-01-01_00.00.00")" mp-fmt
  TZ=America/New_York backup fmt --property-format 'bk:{}' --snapshot-format '{}_%Y-%m-%d_%H.%M.%S' --now 1767225600 --allow-empty --utc --no-thinning
  assert_eq "$(snapshots "$src/fmt" | tail -1)" "$src/fmt@fmt_2026-01-01_00.00.01"
  refuses backup fmt --snapshot-format '{}-%B' --now 1767225600
  assert_eq "$status" 253
}

test_what_has_changed_too_little_is_left_out() {
  tree change
  backup change --now 20260101000000
  write_file "$src/change" 2000 big
  write_file "$src/change/sub" 20 small
  backup change --min-change 1M --now 20260102000000
  assert_eq "$(count "$src/change") $(count "$src/change/sub")" '2 1'
  write_file "$src/change" 20 small
  backup change --exclude-unchanged 1M --now 20260103000000
  assert_eq "$(count "$src/change") $(count "$src/change/sub")" '2 1'
  zfs snapshot -r "$src/change@by-hand"
  out=$(backup change --ignore-replicated --verbose --now 20260104000000)
  assert_contains "$out" "Ignoring: $src/change (already replicated)"
  assert_eq "$(count "$src/change")" 3
}

test_received_properties_select_when_asked() {
  tree recv
  backup recv --now 20260101000000
  moonpool autobackup recv "$dst/third" --ssh-source far --ssh-config "$ssh_config" --include-received --now 20260102000000
  same_guids "$(target recv/sub)" "$dst/third/$(target recv/sub)"
}

test_flags_of_send_and_receive() {
  tree flags
  out=$(backup flags --debug --no-zfs-compressed --no-resume --no-bookmarks --no-holds --set-properties readonly=on,org:x=y --now 20260101000000)
  assert_lacks "$(printf '%s\n' "$out" | grep 'zfs send' | head -1)" ' -c'
  assert_lacks "$(printf '%s\n' "$out" | grep 'zfs receive' | head -1)" ' -s '
  assert_eq "$(property "$(target flags)" readonly)" on
  assert_eq "$(property "$(target flags)" org:x)" y
  assert_eq "$(zfs list -Hr -t bookmark -o name "$src/flags")" ''
  assert_eq "$(zfs list -Hpr -t snapshot -o userrefs "$src/flags" | sort -u)" 0
  zfs clone "$src/flags/sub@flags-20260101000000" "$src/flags/a_clone"
  out=$(backup flags --debug --clones never --now 20260102000000)
  assert_contains "$(printf '%s\n' "$out" | grep 'zfs send' | head -1)" ' -c'
  assert_contains "$(printf '%s\n' "$out" | grep 'zfs receive' | head -1)" ' -s '
  assert_eq "$(property "$(target flags/a_clone)" origin)" -
  # What --debug shows can be typed.
  printf '%s\n' "$out" | grep '^zfs list' | head -1 >typed
  sh typed
}

test_limits_of_destroying_and_of_the_rate() {
  tree limit
  write_file "$src/limit" 3000 big
  began=$(date +%s)
  backup limit --rate 1M --now 20260101000000
  [ $(($(date +%s) - began)) -ge 2 ]
  backup limit --allow-empty --now 20260102000000
  refuses backup limit --no-snapshot --keep-source 0 --keep-target 0 --max-destroy 40 --now 20260401000000
  assert_match "$err" 'more than --max-destroy 40 allows'
  backup limit --no-snapshot --keep-source 0 --keep-target 0 --no-thinning --now 20260401000000
  assert_eq "$(count "$src/limit") $(count "$(target limit)")" '2 2'
  backup limit --no-snapshot --keep-source 0 --keep-target 0 --max-destroy 50 --now 20260401000000
  assert_eq "$(count "$src/limit") $(count "$(target limit)")" '1 1'
}

test_the_rate_is_that_of_all_transfers_together() {
  forest rates 3
  for ds in "$src/rates" "$src/rates/d2" "$src/rates/d3"; do write_file "$ds" 1000 big; done
  began=$(date +%s)
  backup rates --rate 400K --jobs 3
  took=$(($(date +%s) - began))
  [ "$took" -ge 7 ] || fail "3 MB at 400 KB a second took $took s"
  for ds in rates rates/d2 rates/d3; do same_guids "$src/$ds" "$(target "$ds")"; done
}

test_periods_are_the_calendar_s_also_when_the_clocks_change() {
  zfs create "$src/calendar"
  zfs set autobackup:calendar=true "$src/calendar"
  # In Berlin the clocks go from 2 to 3 on 2026-03-29: that day has 23 hours. Two snapshots a day, the last one before midnight.
  for time in 20260328233000 20260329003000 20260329233000 20260330003000 20260330120000; do
    TZ=CET-1CEST,M3.5.0,M10.5.0/3 moonpool autobackup calendar --allow-empty --no-thinning --now "$time"
  done
  TZ=CET-1CEST,M3.5.0,M10.5.0/3 moonpool autobackup calendar --no-snapshot --keep-source 1,1d2d --now 20260330130000
  assert_eq "$(snapshots "$src/calendar" | sed 's/.*-//' | tr '\n' ' ')" '20260328233000 20260329003000 20260330003000 20260330120000 '
}

test_compressed_between_hosts() {
  tree pack
  backup pack --ssh-target far --compress gzip --now 20260101000000
  same_guids "$src/pack/sub" "$(target pack/sub)"
  run backup pack --ssh-target far --compress lzo --now 20260102000000 --allow-empty
  assert_eq "$status" 0
  command -v lzop || assert_match "$err" 'has no lzop: sending uncompressed'
}

test_progress_is_drawn_when_asked_and_wiped_away() {
  tree progress
  write_file "$src/progress" 4000 big
  backup progress --progress --rate 2M --now 20260101000000 2>drawn
  assert_match "$(cat drawn)" "$src/progress .*/s.*%.*left"
  assert_match "$(tail -c 20 drawn | od -An -c | tr -d ' \n')" '033\[[0-9]+A033\[J$'
}
