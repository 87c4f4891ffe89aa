//go:build unix

// Package elasticmq runs ElasticMQ, an emulator of SQS alone, on this machine without a container: a second opinion beside LocalStack,
// and several times as fast.
//
// It needs Java 11 or newer, and Maven for the first start. Where it differs from SQS, as far as our tests meet it: to delete by a
// stale receipt handle is an error. Tests import it, and never sluice itself.
package elasticmq

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Version is ElasticMQ's, as in pom.xml.
const Version = "1.7.1"

//go:embed pom.xml
var pom []byte

// settings want the port, twice.
const settings = `include classpath("application.conf")
node-address { protocol = http, host = "127.0.0.1", port = %[1]s, context-path = "" }
rest-sqs { enabled = true, bind-hostname = "127.0.0.1", bind-port = %[1]s, sqs-limits = strict }
rest-stats { enabled = false }
`

const startTimeout = 3 * time.Minute

// Missing says what this machine lacks to run it, nil for nothing.
func Missing() error {
	for _, program := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("ElasticMQ needs Java 11 and Maven: %w", err)
		}
	}
	return nil
}

// Server is a running ElasticMQ. It lasts until Stop.
type Server struct {
	// Endpoint is its URL, without a slash at its end.
	Endpoint string

	cmd  *exec.Cmd
	done chan struct{}
}

// Start installs it into dir if need be (37 MB), starts it with its log in a file there, and returns once it answers.
func Start(ctx context.Context, dir string, progress io.Writer) (*Server, error) {
	s, err := start(ctx, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("elasticmq: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, dir string, progress io.Writer) (*Server, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	jars, err := install(ctx, dir, progress)
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "elasticmq.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, settings, port), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log")) //nolint:gosec // a file of ours
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &Server{
		Endpoint: "http://127.0.0.1:" + port,
		cmd:      exec.Command("java", "-Dconfig.file="+config, "-cp", filepath.Join(jars, "*"), "org.elasticmq.server.Main"), //nolint:gosec,noctx // our own paths; Stop ends it
		done:     make(chan struct{}),
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at our terminal ends our test first
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait() // how it ended is in its log
		close(s.done)
	}()
	if err := s.await(ctx, port); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w; its log is %s", err, log.Name())
	}
	return s, nil
}

// Stop ends it, with all that it holds.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill() // an error means that it has ended
	<-s.done
}

// install returns the folder of its jars, fetched first if need be.
func install(ctx context.Context, dir string, progress io.Writer) (jars string, err error) {
	jars = filepath.Join(dir, Version)
	if _, err := os.Stat(jars); err == nil {
		return jars, nil
	}
	fmt.Fprintf(progress, "installing ElasticMQ %s into %s, once\n", Version, jars) //nolint:errcheck // progress only
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	stage, err := os.MkdirTemp(dir, "install-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(stage) //nolint:errcheck // temporary files
	if err := os.WriteFile(filepath.Join(stage, "pom.xml"), pom, 0o600); err != nil {
		return "", err
	}
	for try := 1; ; try++ { // a network may stumble
		cmd := exec.CommandContext(ctx, "mvn", "--batch-mode", "--quiet", "--strict-checksums", "dependency:copy-dependencies", "-DoutputDirectory=jars")
		cmd.Dir = stage
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		if try == 3 || ctx.Err() != nil {
			return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
	}
	return jars, os.Rename(filepath.Join(stage, "jars"), jars)
}

func (s *Server) await(ctx context.Context, port string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", "127.0.0.1:"+port)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
