// Package house tests the shape of the tree: which room may import which.
package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rows gives each room its row, docs/architecture.md. A room imports only
// from rows below its own, never sideways, never up. There are no exceptions.
var rows = map[string]int{
	"mail": 1, "errs": 0, // errs lies under mail: addresses report kinds of error
	"smtp": 2, "message": 2, "logs": 2, "dns": 2, "certs": 2, "auth": 2, "console": 2, "stats": 2, "disk": 2, "loopback": 2,
	"access": 3, "alert": 3, "archive": 3, "bounce": 3, "dane": 3, "mtasts": 3, "filter": 3, "policy": 3, "outbreak": 3, "queue": 3, "quarantine": 3, "tracking": 3,
	"cpq": 4, "pipeline": 4, "config": 4, "spool": 4, "store": 4, "blob": 4, "senderauth": 4, "scan": 4, "unpack": 4, "reputation": 4,
	"listener": 5, "delivery": 5, "peer": 5, "cluster": 5, "migration": 5, "doctor": 5, "backup": 5,
	"admin": 6, "adminssh": 6, "api": 6, "web": 6,
	"appliance": 7,
	"gateway":   8, "manager": 8,
	"demo": 9, "bench": 9,
	"": 10, // main
}

// exempt rooms hold tests only.
var exempt = map[string]bool{"testlib": true, "house": true, "e2e": true}

func TestImportsGoDown(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); strings.HasPrefix(n, ".") && n != ".." || n == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		room := roomOf(root, path)
		if exempt[room] {
			return nil
		}
		seen++
		checkFile(t, path, room)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 {
		t.Fatalf("only %d files seen: the test looks in the wrong place", seen)
	}
}

// roomOf gives the room of a file: the first name under internal, or "" for main.
func roomOf(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return "?"
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if parts[0] == "internal" && len(parts) > 2 {
		return parts[1]
	}
	if parts[0] == "e2e" {
		return "e2e"
	}
	return ""
}

func checkFile(t *testing.T, path, room string) {
	t.Helper()
	row, ok := rows[room]
	if !ok {
		t.Errorf("%s: room %q has no row", path, room)
		return
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	for _, imp := range f.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		rest, ours := strings.CutPrefix(p, "lazaret/internal/")
		if !ours {
			continue
		}
		other, _, _ := strings.Cut(rest, "/")
		if other == room {
			continue // sub-packages belong to their room
		}
		to, ok := rows[other]
		if !ok || to >= row {
			t.Errorf("%s: %q (row %d) imports %q (row %d): imports go down only", path, room, row, other, to)
		}
	}
}
