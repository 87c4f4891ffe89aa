//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"example.com/owner/sluice/test/localstack"
)

// project names the containers, apart from those of other projects.
const project = "sluice-local"

// dockerMissing returns why there is no Docker engine with compose, nil if there is one.
func dockerMissing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("there is no docker on the PATH (https://docs.docker.com/get-docker)")
	}
	if exec.CommandContext(ctx, "docker", "info").Run() != nil {
		return errors.New("no Docker engine answers")
	}
	if exec.CommandContext(ctx, "docker", "compose", "version").Run() != nil {
		return errors.New("docker has no compose")
	}
	return nil
}

// startDocker starts compose.yaml.
func startDocker(ctx context.Context, stderr io.Writer) (*state, error) {
	database, err := localstack.FreePort(5432)
	if err != nil {
		return nil, err
	}
	sqs, err := localstack.FreePort(usualPort)
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	up := compose(ctx, stderr, "up", "--detach", "--wait", "--wait-timeout", "180", "postgres", "localstack")
	up.Env = append(up.Environ(), "POSTGRES_PASSWORD="+password, "POSTGRES_PORT="+database, "SQS_PORT="+sqs)
	if err := up.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("docker compose up: %w", err), stopDocker(context.WithoutCancel(ctx), stderr))
	}
	s := &state{
		Mode: modeDocker, Since: time.Now(),
		What:     "Postgres and LocalStack of compose.yaml",
		Where:    "docker compose --project-name " + project + " ps",
		Endpoint: "http://127.0.0.1:" + sqs, DatabaseURL: "postgres://postgres:" + password + "@127.0.0.1:" + database + "/postgres?sslmode=disable",
	}
	if err := s.createQueues(ctx); err != nil {
		return nil, err
	}
	if err := s.save(); err != nil {
		return nil, err
	}
	return s, nil
}

func stopDocker(ctx context.Context, stderr io.Writer) error {
	if err := compose(ctx, stderr, "down", "--volumes", "--timeout", "5").Run(); err != nil {
		return fmt.Errorf("docker compose down: %w", err)
	}
	return nil
}

func compose(ctx context.Context, stderr io.Writer, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"compose", "--project-name", project, "--file", "compose.yaml"}, args...)...) //nolint:gosec // our own words
	cmd.Stdout, cmd.Stderr = stderr, stderr
	return cmd
}
