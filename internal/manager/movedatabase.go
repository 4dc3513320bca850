package manager

import (
	"context"
	"errors"

	"lazaret/internal/appliance"
	"lazaret/internal/appliance/pvo"
	"lazaret/internal/config"
)

// MoveDatabase carries the records of the manager in a directory, which must not
// be running, from its file to the server that its configuration names: all of
// them or none. tell hears how far it is.
func MoveDatabase(ctx context.Context, opt Options, tell func(table string, done, total int64)) (messages int64, err error) {
	base, err := appliance.Open(opt, config.Manager)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	return pvo.Move(ctx, base, pvo.Options{Options: opt}, tell)
}
