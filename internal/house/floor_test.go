package house

import (
	"go/parser"
	"go/token"
	"go/version"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// floors are the versions below which a library has a hole that touches us
// (register 4.H).
var floors = map[string]string{
	"golang.org/x/net":    "0.55.0", // html: CVE-2026-25680 and four more
	"golang.org/x/crypto": "0.55.0", // ssh: section 4.F, the series of 2026
}

// goFloor has the newest of the fixes to net/mail, archive, x509, asn1 and tls.
const goFloor = "go1.26.3"

// TestSEC_H_Go: the toolchain that tests and builds is above the floor.
func TestSEC_H_Go(t *testing.T) {
	if v := strings.Fields(runtime.Version())[0]; version.Compare(v, goFloor) < 0 {
		t.Errorf("Go is %s; %s is the least", v, goFloor)
	}
}

// TestSEC_H_Modules: go.mod asks for no module below its floor, and for each
// that has one.
func TestSEC_H_Modules(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, floor := range floors {
		m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(name) + ` v(\S+)`).FindSubmatch(b)
		if m == nil {
			t.Errorf("%s is not in go.mod", name)
		} else if !atLeast(string(m[1]), floor) {
			t.Errorf("%s is %s; %s is the least", name, m[1], floor)
		}
	}
	if m := regexp.MustCompile(`(?m)^replace `).Find(b); m != nil {
		t.Error("go.mod replaces a module: floors would say nothing")
	}
}

// atLeast compares versions of three numbers.
func atLeast(have, floor string) bool {
	a, b := strings.Split(have, "."), strings.Split(floor, ".")
	for i := range b {
		x, err := strconv.Atoi(a[min(i, len(a)-1)])
		y, _ := strconv.Atoi(b[i])
		if err != nil || x != y {
			return err == nil && x > y
		}
	}
	return true
}

func TestAtLeast(t *testing.T) {
	for _, c := range []struct {
		have, floor string
		want        bool
	}{{"0.55.0", "0.55.0", true}, {"0.9.0", "0.55.0", false}, {"0.54.9", "0.55.0", false}, {"1.0.0", "0.55.0", true}, {"0.56.0", "0.55.1", true}} {
		if atLeast(c.have, c.floor) != c.want {
			t.Errorf("%s and %s", c.have, c.floor)
		}
	}
}

// TestSEC_H_Quadratic: the product does not use the parsers that were quadratic
// twice over, net/mail and net/textproto, nor x/net/html, so nothing has to be
// capped in front of them. Whoever needs one has to cap its input, and say so here.
func TestSEC_H_Quadratic(t *testing.T) {
	banned := map[string]bool{"net/mail": true, "net/textproto": true, "golang.org/x/net/html": true}
	seen := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testlib") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, i := range f.Imports {
			if name, _ := strconv.Unquote(i.Path.Value); banned[name] {
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil || seen < 100 {
		t.Errorf("%d files, %v", seen, err)
	}
}

// TestSEC_A1_Processes: of what a gateway or manager is made of, only unpack
// starts a process; no room can forget that by accident. bench measures, and is
// no part of either role.
func TestSEC_A1_Processes(t *testing.T) {
	may := map[string]bool{"unpack": true, "bench": true}
	seen := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := roomOf(filepath.Join("..", ".."), path)
		for _, i := range f.Imports {
			if name, _ := strconv.Unquote(i.Path.Value); name == "os/exec" && !exempt[room] {
				if seen++; !may[room] {
					t.Errorf("%s imports %s", path, name)
				}
			}
		}
		return nil
	})
	if err != nil || seen < 2 {
		t.Errorf("%d files, %v", seen, err)
	}
}
