// Command check judges histories: files of JSON lines as package history
// describes them, and directories of appliances whose mail logs belong to
// them. It prints a table and ends with 1 when anything happened that must not.
//
//	go run ./e2e/check [--log HOST=DIR]... FILE...
package main

import (
	"fmt"
	"os"
	"strings"

	"lazaret/e2e/history"
)

func main() {
	h := &history.History{Logs: map[string]*history.Log{}}
	args := os.Args[1:]
	files := 0
	for len(args) > 0 {
		var err error
		if args[0] == "--log" && len(args) > 1 {
			err = addLog(h, args[1])
			args = args[1:]
		} else {
			err = addFile(h, args[0])
			files++
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "check:", err)
			os.Exit(2)
		}
		args = args[1:]
	}
	if files == 0 {
		fmt.Fprintln(os.Stderr, "Usage: check [--log HOST=DIRECTORY]... HISTORY...")
		os.Exit(2)
	}
	r := history.Check(h)
	if err := r.Write(os.Stdout); err != nil || len(r.Violations) > 0 {
		os.Exit(1)
	}
}

func addFile(h *history.History, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	all, err := history.Read(f)
	h.Events = append(h.Events, all...)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func addLog(h *history.History, arg string) error {
	host, dir, ok := strings.Cut(arg, "=")
	if !ok {
		return fmt.Errorf("--log %s: HOST=DIRECTORY is wanted", arg)
	}
	l, err := history.ReadLogs(host, dir)
	if err != nil {
		return err
	}
	h.Logs[host] = l
	return nil
}
