# shellcheck shell=bash disable=SC2154
# Backups as cron runs them, one after the other, while datasets come, change, are renamed and go; and killed at any moment.
#
#   MINUTES   how many backups the first test makes, one a pretended minute (10); 60 take four minutes
#   KILLS     how often the second test kills (4); 100 take a quarter of an hour

setup() {
  pool src 300
  pool dst 400
}

# Every dataset of the source is on the target with all that the source has, nothing is under way there, and one hold and one bookmark a dataset are left.
equal() { # NAME TARGET-ROOT
  local ds
  for ds in $(zfs list -Hro name "$src/$1"); do same_guids "$ds" "$2/$ds"; done
  assert_eq "$(zfs get -Hr -o value receive_resume_token "$2" | sort -u)" -
  assert_eq "$(zfs list -Hpr -t snapshot -o userrefs "$src/$1" | awk '{ n += $1 } END { print n }')" "$(zfs list -Hro name "$src/$1" | wc -l)" 'holds'
  assert_eq "$(zfs list -Hr -t bookmark -o name "$src/$1" | wc -l)" "$(zfs list -Hro name "$src/$1" | wc -l)" 'bookmarks'
}

test_backups_every_minute_with_datasets_that_come_change_are_renamed_and_go() {
  zfs create "$src/hour"
  zfs set autobackup:hour=true "$src/hour"
  for minute in $(seq 10 $((9 + ${MINUTES:-10}))); do
    case $((minute % 10)) in
      1) zfs create "$src/hour/d$minute" ;;
      3) write_file "$src/hour/d$((minute - 2))" 20 ;;
      5) zfs rename "$src/hour/d$((minute - 4))" "$src/hour/r$minute" ;;
      7) write_file "$src/hour/r$((minute - 2))" 20 again ;;
      9) # What is gone is held for its target: whoever destroys it lets go first, as zfs says.
        if [ "$minute" -gt 20 ]; then
          old=$src/hour/r$((minute - 14))
          zfs list -Hpro name,userrefs -t snapshot "$old" | awk '$2 > 0 { print $1 }' | while read -r snapshot; do
            holds "$snapshot" | while read -r tag; do zfs release "$tag" "$snapshot"; done
          done
          zfs destroy -r "$old"
        fi ;;
    esac
    moonpool autobackup hour "$dst/hour" --follow-renames --keep-source 5 --keep-target 20 --destroy-missing 5min --clear-mountpoint --clear-refreservation \
      --now "$((1767225600 + minute * 60))"
  done
  equal hour "$dst/hour"
}

# One run over SSH or here, during which something is killed after a while.
killed_run() { # MOMENT WHAT
  moonpool autobackup kills "$dst/kills" --keep-source last2 --keep-target last3 --rate 8M ${2:+$2} &
  local pid=$!
  sleep "$1"
  case $((RANDOM % 4)) in
    0) kill -9 $pid || : ;;
    1) pkill -9 -f 'zfs send' || : ;;
    2) pkill -9 -f 'zfs receive' || : ;;
    3) pkill -9 -f 'sshd: root' || kill -9 $pid || : ;;
  esac 2>/dev/null
  wait $pid || :
}

# The newest snapshot that both sides have is held or bookmarked on the source.
protected() { # DATASET
  local common
  common=$(comm -12 <(zfs list -Hpo guid -t snapshot,bookmark -d 1 "$src/$1" | sort -u) <(zfs list -Hpo guid -t snapshot -d 1 "$dst/kills/$src/$1" | sort -u))
  [ -n "$common" ] || fail "nothing is common any more of $1"
  zfs list -Hpo guid,name,userrefs -t snapshot,bookmark -d 1 "$src/$1" | grep -F "$common" | awk '$2 ~ /#/ || $3 > 0 { found = 1 } END { exit !found }' ||
    fail "what is common of $1 is not protected"
}

test_killed_at_any_moment_nothing_common_is_lost_and_the_next_run_puts_all_right() {
  sshd_start
  zfs create "$src/kills"
  zfs create "$src/kills/a"
  zfs set autobackup:kills=true "$src/kills"
  moonpool autobackup kills "$dst/kills"
  local n way
  for n in $(seq "${KILLS:-4}"); do
    write_file "$src/kills/a" $((RANDOM % 8000 + 100)) big
    way=
    [ $((n % 2)) = 0 ] || way="--ssh-source far --ssh-config $ssh_config"
    killed_run "0.$((RANDOM % 10))" "$way"
    protected kills
    protected kills/a
    while pgrep -f 'zfs (send|receive)' >/dev/null; do sleep 0.1; done
    # The lock of the killed run is gone with it; its name may be taken for this second.
    # shellcheck disable=SC2086
    moonpool autobackup kills "$dst/kills" --keep-source last2 --keep-target last3 $way
    same_guids "$src/kills/a" "$dst/kills/$src/kills/a"
  done
  equal kills "$dst/kills"
}
