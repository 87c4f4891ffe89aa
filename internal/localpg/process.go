package localpg

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a child that is waited for from its start on, so that its end is noticed and no zombie stays.
type process struct {
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	waitErr error         // valid once done is closed
}

// startProcess starts the command. The kernel's promise to end the child with its parent (see system_linux.go) is
// about the parent's thread: so the thread that starts it is kept until the child has ended.
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

// err says how an ended process ended; never nil, for a server is not expected to end by itself.
func (p *process) err() error {
	if p.waitErr != nil {
		return p.waitErr
	}
	return errors.New("exit status 0")
}

// What Postgres calls its ways to end.
const (
	fastShutdown      = syscall.SIGINT  // sessions are ended, and a checkpoint is written
	immediateShutdown = syscall.SIGQUIT // as by a crash: the next start has to recover
)

// end ends a server and its children, and reports whether it ended by itself: SIGKILL ends what hangs.
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
