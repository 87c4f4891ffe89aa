//go:build unix

package localpg

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// systemCache is the directory for root's fetched binaries. (macOS has no /var/cache, but root can
// make it.)
const systemCache = "/var/cache/sluice"

// account is the account that the server runs as.
type account struct {
	uid, gid int
	switched bool // it is not this process's account, which is root
}

// serverAccount returns this process's account, or, because Postgres refuses to run as root, an
// unprivileged one that exists.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID == nil && errGID == nil && uid != 0 {
			return account{uid: uid, gid: gid, switched: true}, nil
		}
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor " +
		"nobody to run it as: run sluice as another user, or give the URL of a server (DATABASE_URL; for tests TEST_DATABASE_URL)")
}

// canRun reports whether the account can run the programs in dir.
func (a account) canRun(dir string) bool { return !a.switched || reachableByAll(dir) }

// reachableByAll reports whether every account may pass through dir and all directories above it.
func reachableByAll(dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// isOwnDir reports whether path is a directory, not a link to one, that this process's user owns
// and nobody else may write to.
func isOwnDir(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode()&0o022 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// tryLock takes an exclusive lock that the kernel releases when the file is closed or the process
// ends.
func tryLock(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("flock: %w", err)
	}
	return true, nil
}

func childAttributes(as account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if as.switched {
		attr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	endWithParent(attr)
	return attr
}
