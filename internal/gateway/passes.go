package gateway

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/message"
)

// openPasses reads the key of the marks on mail, or makes it. A lost or damaged
// one costs little: what is going round then is counted anew.
func (g *Gateway) openPasses(opt Options) error {
	path := g.Path("keys", "pass.key")
	key, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(errs.Internal, err, "reading %s", path)
	}
	if err == nil && len(key) != message.PassKeySize {
		g.Log.Warning(path + " is damaged; a new one is made")
	}
	if len(key) != message.PassKeySize {
		key = make([]byte, message.PassKeySize)
		_, _ = rand.Read(key) // never fails
		if !opt.Check {
			if err := config.WriteFile(path, key, 0o600); err != nil {
				return err
			}
		}
	}
	g.passes = message.NewPasses(g.Config.Committed().Serial, key)
	return nil
}
