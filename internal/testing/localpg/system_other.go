//go:build !unix

package localpg

import (
	"errors"
	"os"
	"syscall"
)

// On these systems nothing after serverAccount is reached; it lets the package compile.

const systemCache = ""

type account struct {
	uid, gid int
	switched bool
}

func serverAccount() (account, error) {
	return account{}, errors.New("no PostgreSQL can be started on this system: give the URL of a server (DATABASE_URL)")
}

func (account) canRun(string) bool                 { return false }
func reachableByAll(string) bool                   { return false }
func isOwnDir(string) bool                         { return false }
func tryLock(*os.File) (bool, error)               { return false, errors.ErrUnsupported }
func childAttributes(account) *syscall.SysProcAttr { return nil }
