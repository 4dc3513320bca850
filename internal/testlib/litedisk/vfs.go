package litedisk

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The two tables of SQLite's interface, as in sqlite3.h: a function is the
// address of a Go function value.
type (
	ioMethods struct {
		version                                                           int32
		close, read, write, truncate, sync, fileSize, lock, unlock        uintptr
		checkReservedLock, fileControl, sectorSize, deviceCharacteristics uintptr
		shmMap, shmLock, shmBarrier, shmUnmap, fetch, unfetch             uintptr
	}
	vfsTable struct {
		version, fileSize, maxPath                                          int32
		next, name, data                                                    uintptr
		open, delete, access, fullPathname, dlOpen, dlError, dlSym, dlClose uintptr
		randomness, sleep, currentTime, getLastError, currentTimeInt64      uintptr
		setSystemCall, getSystemCall, nextSystemCall                        uintptr
	}
)

// The functions that are put in between.
type (
	openFunc     = func(tls *libc.TLS, vfs, path, f uintptr, flags int32, out uintptr) int32
	deleteFunc   = func(tls *libc.TLS, vfs, path uintptr, sync int32) int32
	closeFunc    = func(tls *libc.TLS, f uintptr) int32
	writeFunc    = func(tls *libc.TLS, f, data uintptr, n int32, at int64) int32
	truncateFunc = func(tls *libc.TLS, f uintptr, size int64) int32
)

// vfs is SQLite's own for Unix, with a Disk in between.
type vfs struct {
	d    *Disk
	tls  *libc.TLS
	name string
	own  *vfsTable // SQLite's
	ours uintptr   // *vfsTable, in C's memory
	keep []any     // functions that only C's memory refers to

	mu     sync.Mutex
	tables map[uintptr]uintptr // methods of files: SQLite's, ours
	open   map[uintptr]*handle // by sqlite3_file
}

// handle is an open file.
type handle struct {
	path string
	own  *ioMethods
}

// at makes a pointer of an address in C's memory.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// called gives the Go function that an address in a table stands for.
func called[F any](p *uintptr) F { return *(*F)(unsafe.Pointer(p)) }

// put gives the address of a function.
func put[F any](v *vfs, f F) uintptr {
	v.keep = append(v.keep, &f)
	return *(*uintptr)(unsafe.Pointer(&f))
}

func (v *vfs) register(d *Disk) error {
	v.d, v.tls = d, libc.NewTLS()
	v.tables, v.open = map[uintptr]uintptr{}, map[uintptr]*handle{}
	own := sqlite3.Xsqlite3_vfs_find(v.tls, 0)
	if own == 0 {
		return errors.New("litedisk: SQLite has no VFS")
	}
	v.own = (*vfsTable)(at(own))
	v.name = fmt.Sprintf("litedisk-%p", d)
	v.ours = libc.Xmalloc(v.tls, libc.Tsize_t(unsafe.Sizeof(vfsTable{})))
	t := (*vfsTable)(at(v.ours))
	*t = *v.own
	name, err := libc.CString(v.name)
	if err != nil {
		return err
	}
	t.next, t.name = 0, name
	t.open, t.delete = put(v, v.xOpen), put(v, v.xDelete)
	if rc := sqlite3.Xsqlite3_vfs_register(v.tls, v.ours, 0); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("litedisk: register gives %d", rc)
	}
	return nil
}

// unregister takes it away again. Nothing is given back to C: a connection that
// a failed test did not close may still use it.
func (v *vfs) unregister() { sqlite3.Xsqlite3_vfs_unregister(v.tls, v.ours) }

// failed gives the code for an error of Before.
func failed(err error, code int32) int32 {
	if noRoom(err) {
		return sqlite3.SQLITE_FULL
	}
	return code
}

func (v *vfs) xOpen(tls *libc.TLS, table, zPath, f uintptr, flags int32, out uintptr) int32 {
	if zPath == 0 { // a file of SQLite's own, gone with the process
		return called[openFunc](&v.own.open)(tls, table, zPath, f, flags, out)
	}
	path := libc.GoString(zPath)
	_, err := os.Stat(path)
	fresh := err != nil
	if fresh && flags&sqlite3.SQLITE_OPEN_CREATE != 0 {
		if err := v.d.before(Create, path); err != nil {
			return failed(err, sqlite3.SQLITE_CANTOPEN)
		}
	}
	if rc := called[openFunc](&v.own.open)(tls, table, zPath, f, flags, out); rc != sqlite3.SQLITE_OK {
		return rc
	}
	if err := v.d.opened(path, fresh); err != nil {
		return sqlite3.SQLITE_CANTOPEN
	}
	methods := (*uintptr)(at(f)) // the first field of a sqlite3_file
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open[f] = &handle{path: path, own: (*ioMethods)(at(*methods))}
	*methods = v.tableFor(*methods)
	return sqlite3.SQLITE_OK
}

// tableFor gives our methods in place of SQLite's. mu is held.
func (v *vfs) tableFor(own uintptr) uintptr {
	if ours := v.tables[own]; ours != 0 {
		return ours
	}
	ours := libc.Xmalloc(v.tls, libc.Tsize_t(unsafe.Sizeof(ioMethods{})))
	t := (*ioMethods)(at(ours))
	*t = *(*ioMethods)(at(own))
	t.close, t.write, t.truncate, t.sync = put(v, v.xClose), put(v, v.xWrite), put(v, v.xTruncate), put(v, v.xSync)
	v.tables[own] = ours
	return ours
}

func (v *vfs) handle(f uintptr) *handle {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.open[f]
}

func (v *vfs) xClose(tls *libc.TLS, f uintptr) int32 {
	h := v.handle(f)
	v.mu.Lock()
	delete(v.open, f)
	v.mu.Unlock()
	return called[closeFunc](&h.own.close)(tls, f)
}

func (v *vfs) xWrite(tls *libc.TLS, f, data uintptr, n int32, offset int64) int32 {
	h := v.handle(f)
	if err := v.d.before(Write, h.path); err != nil {
		return failed(err, sqlite3.SQLITE_IOERR_WRITE)
	}
	rc := called[writeFunc](&h.own.write)(tls, f, data, n, offset)
	if rc == sqlite3.SQLITE_OK {
		b := make([]byte, n)
		copy(b, unsafe.Slice((*byte)(at(data)), n))
		v.d.changed(h.path, change{offset, b})
	}
	return rc
}

func (v *vfs) xTruncate(tls *libc.TLS, f uintptr, size int64) int32 {
	h := v.handle(f)
	if err := v.d.before(Truncate, h.path); err != nil {
		return failed(err, sqlite3.SQLITE_IOERR_TRUNCATE)
	}
	rc := called[truncateFunc](&h.own.truncate)(tls, f, size)
	if rc == sqlite3.SQLITE_OK {
		v.d.changed(h.path, change{at: size})
	}
	return rc
}

// xSync asks nothing of the kernel: what is on stable storage is for the Disk
// to say.
func (v *vfs) xSync(_ *libc.TLS, f uintptr, _ int32) int32 {
	h := v.handle(f)
	if err := v.d.before(Sync, h.path); err != nil {
		return failed(err, sqlite3.SQLITE_IOERR_FSYNC)
	}
	v.d.synced(h.path)
	return sqlite3.SQLITE_OK
}

func (v *vfs) xDelete(tls *libc.TLS, table, zPath uintptr, sync int32) int32 {
	path := libc.GoString(zPath)
	if _, err := os.Stat(path); err == nil {
		if err := v.d.before(Delete, path); err != nil {
			return failed(err, sqlite3.SQLITE_IOERR_DELETE)
		}
	}
	rc := called[deleteFunc](&v.own.delete)(tls, table, zPath, sync)
	if rc == sqlite3.SQLITE_OK {
		v.d.deleted(path, sync != 0)
	}
	return rc
}
