/* What one board is: edit these lines for yours, then upload the sketch. */
#ifndef BOARD_CONFIG_H
#define BOARD_CONFIG_H

#include <stdint.h>

/* Elements of the surface, seen from the front, and bits of an element (1 to 8). */
#ifndef BOARD_ROWS
#define BOARD_ROWS 16
#endif
#ifndef BOARD_COLUMNS
#define BOARD_COLUMNS 16
#endif
#ifndef BOARD_BITS
#define BOARD_BITS 1
#endif

/* Patterns of a stored sequence, 1 to 65535. Each takes rows x columns x bits / 8 bytes of RAM; an ATmega328P has
 * 2048 bytes, of which the rest of the sketch needs about 700. */
#ifndef BOARD_SEQUENCE
#define BOARD_SEQUENCE 24
#endif

/* 1 where a wire leads from the serial output of the last register (QH') to MISO: READ then tells what is in the
 * registers. 0: it tells what the sketch remembers. */
#ifndef BOARD_CHAIN_RETURNS
#define BOARD_CHAIN_RETURNS 0
#endif

/* Up to 24 characters of ASCII, and a number for each board of that name; 0: it has none. */
#ifndef BOARD_NAME
#define BOARD_NAME "latched board"
#endif
#ifndef BOARD_SERIAL_NUMBER
#define BOARD_SERIAL_NUMBER 0
#endif

/* The state that all elements take when power comes on, and on SAFE: every byte of the pattern is this. */
#ifndef BOARD_DEFAULT_BYTE
#define BOARD_DEFAULT_BYTE 0x00
#endif

/* 1 in a simulator, so that nobody takes it for a board. */
#ifndef BOARD_EMULATED
#define BOARD_EMULATED 0
#endif

/* -- nothing to edit below --------------------------------------------------------------------------------------- */

#define BOARD_FIRMWARE_MAJOR 1
#define BOARD_FIRMWARE_MINOR 0

#define BOARD_PATTERN_BITS ((uint32_t)(BOARD_ROWS) * (BOARD_COLUMNS) * (BOARD_BITS))
#define BOARD_PATTERN_BYTES ((uint16_t)((BOARD_PATTERN_BITS + 7u) / 8u))

/* Bits of the last byte that belong to no element. */
#define BOARD_SPARE_MASK ((uint8_t)((1u << ((8u - BOARD_PATTERN_BITS % 8u) % 8u)) - 1u))

#endif
