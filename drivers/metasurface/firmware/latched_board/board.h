/* The board behind the frames: commands in, answers out, patterns to the registers. C99, no allocation, nothing of
 * Arduino's. docs/latched-board.md of labtrain describes the protocol. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#include "board_config.h"
#include "frame_parser.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BOARD_VERSION 1u

enum {
    BOARD_IDENTIFY = 0x01,
    BOARD_BEGIN = 0x02,
    BOARD_SET = 0x10,
    BOARD_READ = 0x11,
    BOARD_SAFE = 0x12,
    BOARD_STORE = 0x20,
    BOARD_SHOW = 0x21
};

enum {
    BOARD_OK = 0,
    BOARD_BAD_CRC = 1,
    BOARD_BAD_VERSION = 2,
    BOARD_UNKNOWN_COMMAND = 3,
    BOARD_BAD_LENGTH = 4,
    BOARD_BAD_INDEX = 5,
    BOARD_NOT_STORED = 6,
    BOARD_BAD_PATTERN = 7
};

/* What the sketch does for the board. */
typedef struct {
    /* Shift a pattern in, then latch all of it at once. */
    void (*latch)(void *context, const uint8_t *pattern);
    /* Shift the same pattern in once more, without latching, and fetch what comes out at the other end; or NULL. */
    void (*read_chain)(void *context, const uint8_t *pattern, uint8_t *found);
    void *context;
} board_port;

typedef struct {
    board_port port;
    frame_parser parser;
    uint8_t pattern[BOARD_PATTERN_BYTES];
    uint8_t sequence[BOARD_SEQUENCE][BOARD_PATTERN_BYTES];
    uint8_t stored[(BOARD_SEQUENCE + 7) / 8];
    uint16_t latches;    /* patterns latched since power came on, after the default one */
    uint8_t restarted;   /* no host has begun since */
    uint8_t done;        /* whether there is a last change: */
    uint8_t done_bytes[6]; /* its command, sequence number, length and CRC */
} board;

/* Power is on: latch the default pattern. */
void board_start(board *self, const board_port *port);

/* Take a byte that came at now_ms. Returns how many bytes of self->parser.bytes to send, before the next is taken. */
uint16_t board_take(board *self, uint8_t byte, uint32_t now_ms);

#ifdef __cplusplus
}
#endif

#endif
