//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/owner/sluice/internal/testing/localpg"
	"example.com/owner/sluice/test/localstack"
)

// usualPort is the port where people expect LocalStack.
const usualPort = 4566

// How long servers may take to start (which may download them) and to end.
const (
	startTimeout = 10 * time.Minute
	stopTimeout  = 20 * time.Second
)

// startPackages runs serve in the background, in its own session, copies its output and returns when
// the servers are ready.
func startPackages(ctx context.Context, stderr io.Writer) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := forget(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(path(logFile))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	said, err := os.Open(log.Name())
	if err != nil {
		return nil, err
	}
	defer said.Close()

	cmd := exec.Command(self, "serve") //nolint:gosec,noctx // this program; it outlives us
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		_, _ = io.Copy(stderr, said) // the log has it too
		if s, err := load(); s != nil || err != nil {
			return s, err
		}
		select {
		case err := <-ended:
			_, _ = io.Copy(stderr, said)
			return nil, fmt.Errorf("starting them: %w; see %s", err, log.Name())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), cmd.Process.Signal(syscall.SIGTERM))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serve starts the servers, saves where they are, and holds them until a signal or until LocalStack
// ends.
func serve(ctx context.Context, stderr io.Writer) (err error) {
	unlock, err := hold()
	if err != nil {
		return err
	}
	defer unlock()

	database, err := localpg.Start(ctx, localpg.Config{Log: stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Stop()) }()
	port, err := localstack.FreePort(usualPort)
	if err != nil {
		return err
	}
	sqs, err := localstack.Start(ctx, localstack.Config{Dir: ".local/localstack", Log: path("localstack.log"), Port: port, Progress: stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sqs.Stop()) }()

	s := &state{
		Mode: modePackages, Since: time.Now(),
		What:     fmt.Sprintf("%s and LocalStack %s", database.Origin(), localstack.Version),
		Where:    fmt.Sprintf("process %d, logs in %s", os.Getpid(), runDir),
		Endpoint: sqs.Endpoint, DatabaseURL: database.URL(),
	}
	if err := s.createQueues(ctx); err != nil {
		return err
	}
	if err := s.save(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	select {
	case <-ctx.Done():
		return nil
	case <-sqs.Done():
		return errors.New("LocalStack has ended; its log is in " + runDir)
	}
}

// stopPackages ends the process that holds the servers.
func stopPackages(ctx context.Context, stderr io.Writer) error {
	pid := holder()
	if pid == 0 {
		fmt.Fprintln(stderr, "nothing runs") //nolint:errcheck // nowhere to report it
		return nil
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for deadline := time.Now().Add(stopTimeout); holder() == pid; {
		if time.Now().After(deadline) {
			fmt.Fprintln(stderr, "it does not stop: killed") //nolint:errcheck // as above
			return process.Kill()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Fprintln(stderr, "stopped") //nolint:errcheck // as above
	return nil
}

// lockFile returns the file with the id of the process that holds the servers. The process locks it, so
// that another process with the same id is not taken for it.
func lockFile() string { return path("services.lock") }

// hold marks this process as the one that holds the servers.
func hold() (unlock func(), err error) {
	if unlock, err = localstack.TryLock(lockFile()); err != nil {
		return nil, fmt.Errorf("another process starts or holds the servers: %w", err)
	}
	if err := os.WriteFile(lockFile(), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// holder returns the id of the process that holds the servers, 0 for none.
func holder() (pid int) {
	file, err := os.Open(lockFile())
	if err != nil {
		return 0
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0 // nobody holds it; closing the file releases the lock
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return 0
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}
