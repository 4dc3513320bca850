package appliance

import (
	"bytes"
	"context"
	"strings"

	"lazaret/internal/adminssh"
	"lazaret/internal/errs"
)

// Command runs a line of the command language on the appliance that runs in
// dir, over its local socket, and gives what it printed. A status other than 0
// is an error with that text.
func Command(ctx context.Context, dir, line, input string) (string, error) {
	var out bytes.Buffer
	code, err := adminssh.Local(ctx, SocketPath(dir), line, strings.NewReader(input), &out)
	if err != nil {
		return "", err
	}
	if code != 0 {
		if len(line) > 100 {
			line = line[:100] + "..."
		}
		return "", errs.New(errs.Internal, "%s: %s: %s", dir, line, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}
