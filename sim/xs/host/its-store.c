/* PSA's Internal Trusted Storage in the store of --store: keys as PSA writes them. Only in a host that is built for it; else its-directory.c. */
#ifdef HAWSER_STORE_KEYS
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "psa/internal_trusted_storage.h"

#include "store.h"

#define NAME_BYTES 17

static psa_status_t status_of(const store_answer* answer)
{
	if (answer->status == STORE_FAILED)
		return strncmp(answer->bytes, "ENOSPC", 6) ? PSA_ERROR_STORAGE_FAILURE : PSA_ERROR_INSUFFICIENT_STORAGE;
	return answer->status == STORE_OK ? PSA_SUCCESS : PSA_ERROR_DOES_NOT_EXIST;
}

static store_answer ask(store_operation operation, psa_storage_uid_t uid, const void* value, size_t size)
{
	char name[NAME_BYTES];
	snprintf(name, sizeof(name), "%llx", (unsigned long long)uid);
	return store_ask(operation, name, value, size);
}

static psa_status_t settle(store_answer answer)
{
	psa_status_t status = status_of(&answer);
	store_forget(&answer);
	return status;
}

psa_status_t psa_its_set(psa_storage_uid_t uid, uint32_t data_length, const void* p_data, psa_storage_create_flags_t create_flags)
{
	/* Mbed TLS sets none. */
	if (create_flags != PSA_STORAGE_FLAG_NONE)
		return PSA_ERROR_NOT_SUPPORTED;
	return settle(ask(STORE_PUT_KEY, uid, p_data, data_length));
}

psa_status_t psa_its_get(psa_storage_uid_t uid, uint32_t data_offset, uint32_t data_length, void* p_data, size_t* p_data_length)
{
	store_answer answer = ask(STORE_GET_KEY, uid, NULL, 0);
	psa_status_t status = status_of(&answer);
	if (status == PSA_SUCCESS && data_offset > answer.size)
		status = PSA_ERROR_INVALID_ARGUMENT;
	if (status == PSA_SUCCESS) {
		size_t rest = answer.size - data_offset;
		*p_data_length = rest < data_length ? rest : data_length;
		memcpy(p_data, answer.bytes + data_offset, *p_data_length);
	}
	store_forget(&answer);
	return status;
}

psa_status_t psa_its_get_info(psa_storage_uid_t uid, struct psa_storage_info_t* p_info)
{
	store_answer answer = ask(STORE_GET_KEY, uid, NULL, 0);
	p_info->size = (uint32_t)answer.size;
	p_info->flags = PSA_STORAGE_FLAG_NONE;
	return settle(answer);
}

psa_status_t psa_its_remove(psa_storage_uid_t uid)
{
	return settle(ask(STORE_DELETE_KEY, uid, NULL, 0));
}
#endif
