package house

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCommands: each pattern of a "go test" in docs/ and of prove.sh runs
// something. A proof that was renamed would else pass unnoticed: go test is
// content with nothing.
func TestCommands(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "prove.sh"), filepath.Join(root, "test.sh")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		read := commandsOfPage
		if strings.HasSuffix(name, ".sh") {
			read = commandsOfScript
		}
		n, err := checkCommands(root, read(string(text)))
		if seen += n; err != nil {
			t.Errorf("%s:\n%v", filepath.Base(name), err)
		}
	}
	if seen < 100 {
		t.Errorf("only %d patterns seen: the pages are read wrongly", seen)
	}
}

// inline is a command between backticks; it may go over a line's end.
var inline = regexp.MustCompile("`([^`]*\\bgo test\\b[^`]*)`")

// commandsOfPage gives the commands of a page: those between backticks, where in
// a table | is written \|, and the indented lines, where two spaces begin what
// is said about them.
func commandsOfPage(text string) (list []string) {
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		list = append(list, strings.ReplaceAll(m[1], `\|`, "|"))
	}
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "    "); ok && strings.Contains(rest, "go test ") {
			rest, _, _ = strings.Cut(rest, "   ")
			list = append(list, rest)
		}
	}
	return list
}

var scriptRun = regexp.MustCompile(`(?m)^\s*(?:LAZARET_\w+=\w+ )?run (\./\S+) ('[^']*')`)

// commandsOfScript gives what prove.sh has its function run do, and the commands
// of test.sh that name what they run.
func commandsOfScript(text string) (list []string) {
	for _, m := range scriptRun.FindAllStringSubmatch(text, -1) {
		list = append(list, "go test -run "+m[2]+" "+m[1])
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "go test ") && !strings.Contains(line, "$") {
			list = append(list, line)
		}
	}
	return list
}

// checkCommands gives how many patterns there are, and those that match nothing.
func checkCommands(root string, commands []string) (int, error) {
	var faults []error
	seen := 0
	for _, c := range commands {
		packages, patterns := readCommand(c)
		if len(patterns) == 0 {
			continue
		}
		tests, err := testsOf(root, packages)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", c, err))
			continue
		}
		for _, p := range patterns {
			seen++
			if err := checkPattern(p, tests); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", c, err))
			}
		}
	}
	return seen, errors.Join(faults...)
}

// pattern is one alternative of a flag's value.
type pattern struct{ prefix, text string }

var kinds = map[string]string{"-run": "Test", "-bench": "Benchmark", "-fuzz": "Fuzz"}

// readCommand takes a command apart. What runs nothing on purpose ('^$', xx) is
// left out when benchmarks are what is run.
func readCommand(c string) (packages []string, patterns []pattern) {
	words := shellWords(c)
	bench := slices.Contains(words, "-bench") || slices.Contains(words, "-fuzz")
	for i, w := range words {
		if strings.HasPrefix(w, "./") {
			packages = append(packages, strings.TrimPrefix(w, "./"))
		}
		prefix, known := kinds[w]
		if !known || i+1 == len(words) || w == "-run" && bench {
			continue
		}
		top, _, _ := strings.Cut(words[i+1], "/")
		for alternative := range strings.SplitSeq(top, "|") {
			patterns = append(patterns, pattern{prefix, alternative})
		}
	}
	return packages, patterns
}

var word = regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`)

func shellWords(c string) (list []string) {
	for _, m := range word.FindAllStringSubmatch(c, -1) {
		list = append(list, m[1]+m[2]+m[3])
	}
	return list
}

// testsOf gives the tests of packages: those of each, by package.
func testsOf(root string, packages []string) (map[string]map[string]bool, error) {
	all := map[string]map[string]bool{}
	for _, p := range packages {
		dir, below := strings.CutSuffix(p, "...")
		dir = filepath.Join(root, filepath.FromSlash(dir))
		all[p] = map[string]bool{}
		if err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && name != dir && !below {
				return fs.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata") {
				return nil
			}
			names, err := functions(name)
			maps.Copy(all[p], names)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// checkPattern: an alternative has to match in one package at least.
func checkPattern(p pattern, packages map[string]map[string]bool) error {
	re, err := regexp.Compile(p.text)
	if err != nil {
		return err
	}
	for _, tests := range packages {
		for name := range tests {
			kind := strings.HasPrefix(name, p.prefix) || p.prefix == "Test" && strings.HasPrefix(name, "Fuzz") // seeds run as tests
			if kind && re.MatchString(name) {
				return nil
			}
		}
	}
	return fmt.Errorf("%q matches no %s", p.text, p.prefix)
}

func TestCommandsFaults(t *testing.T) {
	for _, c := range []struct{ text, fault string }{
		{"    go test -run TestCommands ./internal/house      all of it\n", ""},
		{"    go test -run 'TestCommands$|TestFeatures' ./internal/house\n", ""},
		{"    go test -run 'TestCommands|TestNowhere' ./internal/house\n", `"TestNowhere" matches no Test`},
		{"    go test -run TestCommands ./internal/disk\n", `"TestCommands" matches no Test`},
		{"    go test -run TestCommands ./internal/nowhere\n", "no such file"},
		{"    go test -run TestCommands\n", `"TestCommands" matches no Test`},
		{"    go test -run TestCommands ./internal/...\n", ""},
		{"    LAZARET_X=1 go test -v -run 'TestCommands$' ./internal/house\n", ""},
		{"    go test -run '^$' -bench Nothing ./internal/house\n", `"Nothing" matches no Benchmark`},
		{"see `go test -run TestCommands\n./internal/house`.", ""},
		{"see `go test -run TestNowhere\n./internal/house`.", `"TestNowhere"`},
		{"| a | `go test -run 'TestFeatures\\|TestNowhere' ./internal/house` |", `"TestNowhere"`},
		{"    go test ./internal/house\n", ""},
	} {
		_, err := checkCommands(filepath.Join("..", ".."), commandsOfPage(c.text))
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%q: %v, want %q", c.text, err, c.fault)
		}
	}
	if _, err := checkCommands(filepath.Join("..", ".."), commandsOfScript("	run ./internal/house 'TestNowhere'\n")); err == nil {
		t.Error("a script may run nothing")
	}
}
