//go:build unix && !linux

package localpg

import "syscall"

// endWithParent does what can be done without Linux's parent-death signal: nothing. The child stays in our process
// group, so that a Ctrl-C ends it too; after a SIGKILL of ours it stays.
func endWithParent(*syscall.SysProcAttr) {}
