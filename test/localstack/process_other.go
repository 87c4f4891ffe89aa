//go:build unix && !linux

package localstack

import "syscall"

// ownGroup puts a child into a process group of its own. There is no parent-death signal here: after a SIGKILL of ours it stays.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
