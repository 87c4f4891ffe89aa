//go:build unix && !linux

package localpg

import "syscall"

// endWithParent does nothing: only Linux has a parent-death signal. The child stays in this
// process's group, so a Ctrl-C ends it too; if this process is killed with SIGKILL, it stays.
func endWithParent(*syscall.SysProcAttr) {}
