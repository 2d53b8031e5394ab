// Consumes tasks: the handlers, the counters and stamps they leave, and the
// processes that run them.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hibiken/asynq"
	"golang.org/x/sys/unix"
)

const slotsBytes = 4096

// Goroutines have no thread of their own: all count in one slot, atomically.
var (
	counter = new(atomic.Uint64)
	stamps  *os.File
)

var handlers = map[string]asynq.HandlerFunc{
	"noop": func(context.Context, *asynq.Task) error {
		counter.Add(1)
		return nil
	},
	"sleep": func(context.Context, *asynq.Task) error {
		counter.Add(1)
		time.Sleep(time.Millisecond)
		return nil
	},
	"cpu": func(context.Context, *asynq.Task) error {
		counter.Add(1)
		burn(time.Millisecond)
		return nil
	},
	"stamp": func(_ context.Context, task *asynq.Task) error {
		stamp(task)
		counter.Add(1)
		return nil
	},
	"hold": func(_ context.Context, task *asynq.Task) error {
		stamp(task)
		counter.Add(1)
		time.Sleep(time.Minute)
		return nil
	},
}

func threadCPU() time.Duration {
	var used unix.Timespec
	fail(unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used))
	return time.Duration(used.Nano())
}

func burn(span time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for start := threadCPU(); threadCPU()-start < span; {
	}
}

func stamp(task *asynq.Task) {
	startedNs := monotonicNs()
	if stamps == nil {
		return
	}
	var body struct {
		T int64 `json:"t"`
	}
	fail(json.Unmarshal(task.Payload(), &body))
	_, err := fmt.Fprintf(stamps, "%d %d\n", body.T, startedNs)
	fail(err)
}

func openCounter() {
	folder := os.Getenv("BENCH_COUNTERS")
	if folder == "" {
		return
	}
	path := filepath.Join(folder, fmt.Sprint(os.Getpid()))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	fail(err)
	defer file.Close()
	fail(file.Truncate(slotsBytes))
	slots, err := unix.Mmap(int(file.Fd()), 0, slotsBytes,
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	fail(err)
	counter = (*atomic.Uint64)(unsafe.Pointer(&slots[0]))
}

func openStamps() {
	path := os.Getenv("BENCH_STAMPS")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	fail(err)
	stamps = file
}

func work(opts *options, args []string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if opts.processes > 1 {
		supervise(opts, args, stop)
		return
	}
	openCounter()
	openStamps()
	config := asynq.Config{Concurrency: opts.concurrency}
	if opts.setting == "best" {
		config.TaskCheckInterval = bestTaskCheck
		config.DelayedTaskCheckInterval = bestDelayedCheck
	}
	server := asynq.NewServer(redisOption(opts), config)
	mux := asynq.NewServeMux()
	mux.HandleFunc(opts.handler, handlers[opts.handler])
	fail(server.Start(mux))
	fmt.Println("ready")
	<-stop
	server.Shutdown()
}

// supervise starts the worker processes and ends them with itself.
func supervise(opts *options, args []string, stop chan os.Signal) {
	// A child's death signal goes out when the thread that started it ends.
	runtime.LockOSThread()
	self, err := os.Executable()
	fail(err)
	children := make([]*exec.Cmd, opts.processes)
	for i := range children {
		// The later flag counts.
		line := append([]string{"work"}, args...)
		child := exec.Command(self, append(line, "--processes", "1")...)
		child.Stderr = os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := child.StdoutPipe()
		fail(err)
		fail(child.Start())
		children[i] = child
		if !bufio.NewScanner(out).Scan() {
			fail(fmt.Errorf("worker process %d of %d ended before it was ready",
				i+1, opts.processes))
		}
	}
	fmt.Println("ready")
	<-stop
	for _, child := range children {
		// One that was killed is no error.
		_ = child.Process.Signal(syscall.SIGTERM)
	}
	for _, child := range children {
		_ = child.Wait()
	}
}
