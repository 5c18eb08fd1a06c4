//go:build unix

package bus

import "golang.org/x/sys/unix"

// freeSpace returns what an unprivileged process may still write below dir.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:gosec,unconvert // sizes differ by platform
}
