//go:build unix && !linux

package localstack

import "syscall"

// ownGroup puts a child into its own process group. Without Linux's parent-death signal, the child
// survives a SIGKILL of this process.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
