package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSEC_A8_NoFileByName: the rooms that speak with people and with the network
// open no file by a name that somebody gave them: what they may read has an
// owner below, who knows its names. A name that is written in the program is none
// that somebody gave. (The other half of the row, header lines out of what
// somebody typed, is SEC_B5.)
func TestSEC_A8_NoFileByName(t *testing.T) {
	rooms := []string{"admin", "adminssh", "api", "web", "listener", "smtp", "cpq"}
	opens := []string{"Open", "OpenFile", "OpenInRoot", "OpenRoot", "ReadFile", "ReadDir", "ReadLink", "Create", "CreateTemp", "WriteFile", "DirFS", "Stat", "Lstat", "Remove", "RemoveAll", "Rename", "Symlink", "Link", "Truncate"}
	own := map[string]bool{"../adminssh/key.go": true, "../adminssh/local.go": true} // its key and its socket, named by whoever starts it
	seen, literal := 0, 0
	for _, room := range rooms {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || own[filepath.ToSlash(path)] {
				return nil // a room that is not built yet
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			seen++
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				fn, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if of, ok := fn.X.(*ast.Ident); !ok || of.Name != "os" && of.Name != "ioutil" || !slices.Contains(opens, fn.Sel.Name) {
					return true
				}
				if len(call.Args) > 0 {
					if _, ok := call.Args[0].(*ast.BasicLit); ok {
						literal++
						return true
					}
				}
				t.Errorf("%s: os.%s with a name that is not written there", path, fn.Sel.Name)
				return true
			})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if seen < 50 || literal == 0 {
		t.Errorf("%d files, %d names", seen, literal)
	}
}
