package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker.
var version string

// buildVersion returns the linker's version, else the one that go build recorded.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// versionInfo is what the command prints.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Revision string `json:"revision,omitzero"` // the commit that it was built from
	Modified bool   `json:"modified,omitzero"` // the commit, and changes that were not committed
}

func thisVersion() versionInfo {
	v := versionInfo{Version: buildVersion(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

// String returns the version in a line.
func (v versionInfo) String() string {
	return fmt.Sprintf("sluice %s %s %s/%s", v.Version, v.Go, v.OS, v.Arch)
}

// Run implements the command.
func (c *versionCmd) Run(con *console) error {
	if c.JSON {
		return con.printJSON(thisVersion(), nil)
	}
	fmt.Fprintln(con.stdout, thisVersion())
	return nil
}
