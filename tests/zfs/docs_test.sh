# shellcheck shell=bash disable=SC2154
# Pages of docs/, typed in as they are written: tests/console.lua runs their console blocks and compares what is printed. Each page begins with a pool
# `tank` with some datasets, an empty pool `backup`, and an ssh configuration in which `nas` is a server that has both.

page() { # PAGE
  for name in tank backup; do
    truncate -s 300M "$TMP/$name.pool"
    zpool create -f -o cachefile=none -O mountpoint="$TMP/mnt/$name" -O atime=off "$name" "$TMP/$name.pool"
  done
  trap 'zpool destroy -f tank; zpool destroy -f backup; stop_what_was_started' EXIT
  for ds in home home/alice home/bob db scratch; do zfs create "tank/$ds"; done
  write_file tank/home/alice 500 letters
  write_file tank/db 300 table
  sshd_start nas
  mkdir -p "$HOME/.ssh" ~/.config
  cp "$ssh_config" "$HOME/.ssh/config"
  # Files that the page makes lie where it is read.
  mkdir page
  cd page
  moonpool lua "$tests/console.lua" "$checkout/$1"
  rm -rf "$HOME/.ssh" "$HOME/.config/moonpool"
}

test_the_readme() { page README.md; }

test_the_tutorial() { page docs/tutorial.md; }
test_the_page_of_the_interactive_loop() { page docs/repl.md; }
