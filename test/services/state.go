//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/test/localstack"
)

// Git ignores this folder. The state has the password of a database on loopback.
const (
	runDir  = ".local/run"
	logFile = "services.log"
)

const (
	modeDocker   = "docker"
	modePackages = "packages"
)

// state describes the running services.
type state struct {
	Mode  string
	Since time.Time
	// What and Where are for a person.
	What, Where string
	Endpoint    string
	DatabaseURL string
	QueueURL    string
	DeadURL     string
}

func path(name string) string { return filepath.Join(runDir, name) }

func stateFile() string { return path("services.json") }

// load returns the state, nil if nothing runs: also if the process of the state has ended.
func load() (*state, error) {
	text, err := os.ReadFile(stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // that nothing runs is not an error
	}
	if err != nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it", stateFile(), err)
	}
	if s.Mode == modePackages && holder() == 0 {
		return nil, nil //nolint:nilnil // as above
	}
	return s, nil
}

// save writes the state at once, as a whole.
func (s *state) save() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temp := stateFile() + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, stateFile())
}

func forget() error {
	if err := os.Remove(stateFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// check returns an error if one of the services does not answer.
func (s *state) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DatabaseURL)
	if err != nil {
		return err
	}
	if err := conn.Close(ctx); err != nil {
		return err
	}
	return localstack.NewClient(s.Endpoint).Healthy(ctx)
}

// settings are what a shell exports, in the order in which it prints them.
func (s *state) settings() [][2]string {
	return [][2]string{
		{"SQS_URL", s.QueueURL},
		{"DEAD_LETTER_QUEUE_URL", s.DeadURL},
		{"PG_URL", s.DatabaseURL},
		{"DATABASE_URL", s.DatabaseURL},
		{"AWS_ENDPOINT_URL", s.Endpoint},
		{"AWS_DEFAULT_REGION", localstack.Region},
		{"AWS_ACCESS_KEY_ID", localstack.AccessKey},
		{"AWS_SECRET_ACCESS_KEY", localstack.SecretKey},
	}
}

// exports returns the settings for a shell.
func (s *state) exports() string {
	var b strings.Builder
	for _, setting := range s.settings() {
		fmt.Fprintf(&b, "export %s='%s'\n", setting[0], strings.ReplaceAll(setting[1], "'", `'\''`))
	}
	return b.String()
}

// unsets returns the line for a shell that takes exports back.
func unsets() string {
	names := []string{"unset"}
	for _, setting := range (&state{}).settings() {
		names = append(names, setting[0])
	}
	return strings.Join(names, " ") + "\n"
}
