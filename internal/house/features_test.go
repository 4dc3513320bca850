package house

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFeatures: each test that docs/features.md names is a function of the file
// it names, and what is called done names one at least.
func TestFeatures(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "features.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := checkFeatures(root, string(text))
	if err != nil {
		t.Errorf("docs/features.md:\n%v", err)
	}
	if tests < 200 {
		t.Errorf("only %d tests seen: the tables are read wrongly", tests)
	}
}

// checkFeatures reads the tables of a features page: in each row the last cell
// names the tests and the one before it the state. It gives how many tests are
// named, and every fault with its line.
func checkFeatures(root, text string) (tests int, err error) {
	var faults []error
	files := map[string]map[string]bool{}
	for n, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 {
			faults = append(faults, fmt.Errorf("%d: %d cells", n+1, len(cells)))
			continue
		}
		state, shown := strings.TrimSpace(cells[len(cells)-2]), strings.TrimSpace(cells[len(cells)-1])
		if shown == "shown by" || strings.HasPrefix(shown, "---") {
			continue
		}
		if shown == "" || shown == "none" {
			if strings.HasPrefix(state, "done") {
				faults = append(faults, fmt.Errorf("%d: done, and no test", n+1))
			}
			continue
		}
		for ref := range strings.SplitSeq(shown, ";") {
			count, err := checkReference(root, strings.TrimSpace(ref), files)
			if tests += count; err != nil {
				faults = append(faults, fmt.Errorf("%d: %w", n+1, err))
			}
		}
	}
	return tests, errors.Join(faults...)
}

var reference = regexp.MustCompile(`^([a-z0-9_/]+_test\.go): ((?:Test|Fuzz|suite)\w+(?:, (?:Test|Fuzz|suite)\w+)*)$`)

// checkReference takes "file: name, name". files keeps what was read before.
func checkReference(root, ref string, files map[string]map[string]bool) (int, error) {
	m := reference.FindStringSubmatch(ref)
	if m == nil {
		return 0, fmt.Errorf("%q is not of the form \"path/file_test.go: TestName, TestName\"", ref)
	}
	if files[m[1]] == nil {
		names, err := functions(filepath.Join(root, filepath.FromSlash(m[1])))
		if err != nil {
			return 0, err
		}
		files[m[1]] = names
	}
	names := strings.Split(m[2], ", ")
	var missing []error
	for _, name := range names {
		if !files[m[1]][name] {
			missing = append(missing, fmt.Errorf("%s has no %s", m[1], name))
		}
	}
	return len(names), errors.Join(missing...)
}

// functions gives the names of a file's functions, methods left out.
func functions(path string) (map[string]bool, error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
			names[fn.Name.Name] = true
		}
	}
	return names, nil
}

func TestFeaturesFaults(t *testing.T) {
	const here = "internal/house/features_test.go"
	for _, c := range []struct{ row, fault string }{
		{"| F1 | x | done | " + here + ": TestFeatures, TestFeaturesFaults |", ""},
		{"| F1 | x | done | " + here + ": TestFeatures; internal/house/imports_test.go: TestImportsGoDown |", ""},
		{"| F1 | x | not built | |", ""},
		{"| F1 | x | partly | none |", ""},
		{"| F1 | what it means here | state | shown by |", ""},
		{"| F1 | x | done; but | |", "1: done, and no test"},
		{"| F1 | x | done | " + here + ": TestFeatures, TestNowhere |", "1: " + here + " has no TestNowhere"},
		{"| F1 | x | done | " + here + ": TestImportsGoDown |", "1: " + here + " has no TestImportsGoDown"},
		{"| F1 | x | done | internal/house: TestFeatures |", "1: \"internal/house: TestFeatures\" is not"},
		{"| F1 | x | done | " + here + ": TestFeatures/a |", "is not of the form"},
		{"| F1 | x | done | internal/house/none_test.go: TestFeatures |", "no such file"},
		{"| F1 |", "1: 1 cells"},
	} {
		_, err := checkFeatures(filepath.Join("..", ".."), c.row)
		if got := fmt.Sprint(err); (c.fault == "") != (err == nil) || !strings.Contains(got, c.fault) && err != nil {
			t.Errorf("%s\n%v\nwant %q", c.row, got, c.fault)
		}
	}
}
