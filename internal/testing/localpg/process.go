package localpg

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a child process. A goroutine waits for it from its start on, so that its end is
// noticed and no zombie stays.
type process struct {
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	waitErr error         // valid once done is closed
}

// startProcess starts the command. The kernel ends the child with the thread that started it (see
// system_linux.go), so that thread is kept until the child has ended.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.waitErr = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// err returns how an ended process ended. It is never nil, because a server should not end by
// itself.
func (p *process) err() error {
	if p.waitErr != nil {
		return p.waitErr
	}
	return errors.New("exit status 0")
}

// Postgres's shutdown modes.
const (
	fastShutdown      = syscall.SIGINT  // ends the sessions, and writes a checkpoint
	immediateShutdown = syscall.SIGQUIT // like a crash: the next start recovers
)

// end ends a server and its children, and reports whether the signal sufficed: SIGKILL ends one
// that hangs.
func (p *process) end(how syscall.Signal) bool {
	_ = p.cmd.Process.Signal(how) // an error means that it has ended
	select {
	case <-p.done:
		return true
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		return false
	}
}
