//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/internal/localpg"
	"sluice/test/localstack"
)

// usualPort is where people expect LocalStack.
const usualPort = 4566

// How long servers may take to start (which may fetch them) and to end.
const (
	startTimeout = 10 * time.Minute
	stopTimeout  = 20 * time.Second
)

// startPackages runs serve in the background, in a session of its own, and returns when it is ready. What serve says is said.
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
		_, _ = io.Copy(stderr, said) // what is not shown is in the log
		if s, err := load(); s != nil || err != nil {
			return s, err
		}
		select {
		case err := <-ended:
			_, _ = io.Copy(stderr, said)
			return nil, fmt.Errorf("starting them: %w; %s has what they said", err, log.Name())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), cmd.Process.Signal(syscall.SIGTERM))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serve starts the servers, says where they are, and holds them until it is told to end or LocalStack ends.
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
	port, err := freePort(usualPort)
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
		fmt.Fprintln(stderr, "nothing runs") //nolint:errcheck // there is nobody left to tell
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
			fmt.Fprintln(stderr, "it does not end by itself: killed") //nolint:errcheck // as above
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

// lockFile has the number of the process that holds the servers, and its lock, which tells a living process from another one that
// got its number.
func lockFile() string { return path("services.lock") }

// turn waits until no other start is under way.
func turn(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(path("start.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		}
	}
	return func() { _ = file.Close() }, nil
}

// hold makes this process the one that holds the servers.
func hold() (unlock func(), err error) {
	file, err := os.OpenFile(lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another process starts or holds them"), file.Close())
	}
	if err := file.Truncate(0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if _, err := file.WriteString(strconv.Itoa(os.Getpid())); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// holder is the process that holds the servers, 0 for none.
func holder() (pid int) {
	file, err := os.Open(lockFile())
	if err != nil {
		return 0
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0 // nobody holds it; closing gives the lock back
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return 0
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// freePort returns the port if it is free, else another one that is.
func freePort(port int) (string, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, free, err := net.SplitHostPort(l.Addr().String())
	return free, err
}
