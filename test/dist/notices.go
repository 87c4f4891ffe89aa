package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licences are the names of the files that licences ask to pass on.
var licences = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^notice|^copyright|^patents|[-_.]licen[cs]e`)

// notices returns the licences of Go and of all modules that are linked into the programs. They are in
// the folders of the modules and of their linked packages.
func notices(programs []string) ([]byte, error) {
	folders := map[string]map[string]bool{} // by "module version"
	for _, program := range programs {
		linked, err := packages(program)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", program, err)
		}
		for module, dirs := range linked {
			if folders[module] == nil {
				folders[module] = map[string]bool{}
			}
			maps.Copy(folders[module], dirs)
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output() //nolint:noctx // at once
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	folders["Go and its standard library"] = map[string]bool{strings.TrimSpace(string(goroot)): true}

	var text bytes.Buffer
	text.WriteString("sluice's programs contain Go's runtime and standard library, and these modules, each under its own licence.\n")
	for _, module := range slices.Sorted(maps.Keys(folders)) {
		found := false
		for _, dir := range slices.Sorted(maps.Keys(folders[module])) {
			files, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, file := range files {
				if !file.Type().IsRegular() || !licences.MatchString(file.Name()) || strings.HasSuffix(file.Name(), ".go") {
					continue
				}
				data, err := read(filepath.Join(dir, file.Name()))
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(&text, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 100), module, file.Name(), bytes.TrimSpace(bytes.ReplaceAll(data, []byte("\r"), nil)))
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("%s has no file with a licence", module)
		}
	}
	return text.Bytes(), nil
}

// packages returns the folders of a program's modules and of their linked packages, by "module version".
func packages(program string) (map[string]map[string]bool, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	const format = `{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{"\t"}}{{.Dir}}{{"\t"}}{{$.Dir}}{{end}}{{end}}`
	cmd := exec.Command("go", "list", "-deps", "-tags="+settings["-tags"], "-f", format, info.Path) //nolint:gosec,noctx // of our own program
	cmd.Env = append(cmd.Environ(), "GOFLAGS=", "GOOS="+settings["GOOS"], "GOARCH="+settings["GOARCH"], "CGO_ENABLED="+cmp.Or(settings["CGO_ENABLED"], "0"))
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, failed.Stderr)
	} else if err != nil {
		return nil, err
	}
	folders := map[string]map[string]bool{}
	for line := range strings.Lines(string(out)) {
		module, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		root, dir, _ := strings.Cut(rest, "\t")
		if folders[module] == nil {
			folders[module] = map[string]bool{}
		}
		// The package's folder and those above it, up to the module's.
		for ; strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
			folders[module][dir] = true
		}
	}
	for _, m := range info.Deps {
		if folders[m.Path+" "+m.Version] == nil {
			return nil, fmt.Errorf("%s %s is linked, and go list does not name it", m.Path, m.Version)
		}
	}
	return folders, nil
}
