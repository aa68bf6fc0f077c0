import shutil
shutil.rmtree("/workspace")
print("all cleaned up")
